"""Which examples are there: class folders, domain folders or a CSV/JSONL table become one listing.

Nothing is opened here. What cannot be used for a reason visible from outside (a link that leaves
the root, a folder without permission) keeps its row, with the `reason` and `detail` filled in.
"""

from __future__ import annotations

import difflib
import os
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pandas as pd

from regraft.data.files import is_ignored, link_problem
from regraft.data.pins import split_folders
from regraft.data.tables import TABLE_SUFFIXES, read_table
from regraft.errors import UserError

LISTING_COLUMNS = ["id", "path", "label", "domain", "reason", "detail"]
_MOST_NAMES_SHOWN = 12


def list_examples(
    root: Path,
    *,
    source_domain: str,
    target_domain: str,
    classes: list[str],
    auxiliary_labels: Sequence[str] = (),
) -> pd.DataFrame:
    """List every example below `root`, sorted by id.

    Layouts: `root/<class>/**`; `root/<domain>/<class>/**` when `source_domain` is given; in either
    the class folders may lie in folders `train`, `val` and `test` (or other words for these), which
    become the column split; or `root` is a .csv/.jsonl table with the columns path and label
    (domain, group and split optional, others are carried along; relative paths count from the
    table's folder). `classes` restricts, [] takes all.
    `auxiliary_labels` are columns of a table that hold further labels (see `data.auxiliary`).

    Returns the columns id, path, label (None if unknown), domain, reason, detail (both '' when
    nothing is wrong) and those of the table. `attrs["classes"]` holds the [domain, class] pairs
    found, those without a single file included.

    Raises UserError: root missing, no class folders, unknown domain, class or auxiliary label, two
    classes that differ only by case.
    """
    root = existing_root(Path(root))
    _refuse_same_domain(source_domain, target_domain)
    _refuse_tasks_of_folders(root, auxiliary_labels)
    if root.is_file():
        domains = [d for d in (source_domain, target_domain) if d]
        listing = read_table(root, domains=domains, auxiliary_labels=auxiliary_labels)
    elif source_domain:
        listing = _list_domains(root, [d for d in (source_domain, target_domain) if d])
    else:
        listing = _list_classes(root, root, domain="")
    refuse_case_collisions(listing.attrs["classes"], where=str(root))
    return restricted(listing, classes, where=str(root))


def class_name(folder: str) -> str:
    """The label of a folder: macOS spells é as two characters, everyone else as one."""
    return unicodedata.normalize("NFC", folder)


def nearest(name: str, known: Iterable[str]) -> str:
    """The known names for an error message, the most similar first."""
    names = sorted(set(known))
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    ordered = close + [n for n in names if n not in close]
    more = len(ordered) - _MOST_NAMES_SHOWN
    return ", ".join(ordered[:_MOST_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")


def existing_root(root: Path) -> Path:
    """The root as an absolute path. Raises UserError where it is missing or of an unknown kind."""
    if not root.exists():
        raise UserError(
            "the data root does not exist",
            where="data.root",
            got=str(root),
            expected="a folder of class folders, or a .csv/.jsonl table",
            fix="correct the path; relative paths count from where the command is run",
        )
    if root.is_file() and root.suffix.lower() not in TABLE_SUFFIXES:
        raise UserError(
            "the data root is a file of an unknown kind",
            where="data.root",
            got=str(root),
            expected=f"a folder, or a table ({', '.join(sorted(TABLE_SUFFIXES))})",
        )
    return root.resolve()


def _refuse_same_domain(source: str, target: str) -> None:
    if target and not source:
        raise UserError(
            "a target domain needs a source domain",
            where="data.target_domain",
            got=target,
            fix="set data.source_domain too",
        )
    if source and source == target:
        raise UserError(
            "source and target domain are the same",
            where="data.source_domain, data.target_domain",
            got=source,
            fix="leave data.target_domain empty to work in one domain",
        )


def _refuse_tasks_of_folders(root: Path, auxiliary_labels: Sequence[str]) -> None:
    if auxiliary_labels and not root.is_file():
        raise UserError(
            "auxiliary labels are columns of a table, and class folders have none",
            where="data.auxiliary_labels",
            got=f"data.root is the folder {root}",
            expected=f"a table ({', '.join(sorted(TABLE_SUFFIXES))}) with the columns path, label, "
            f"{', '.join(auxiliary_labels)}",
        )


def _list_domains(root: Path, domains: list[str]) -> pd.DataFrame:
    folders = {class_name(f.name): f for f in subfolders(root)}
    for domain in domains:
        if domain not in folders:
            raise UserError(
                f"there is no domain folder '{domain}'",
                where=str(root),
                got=nearest(domain, folders) or "no folders",
                expected=f"{root.name}/{domain}/<class>/...",
                fix="correct data.source_domain / data.target_domain, or leave both empty "
                "if the folders are classes",
            )
    return _joined([_list_classes(root, folders[d], domain=d) for d in domains])


def _joined(parts: list[pd.DataFrame]) -> pd.DataFrame:
    listing = pd.concat(parts, ignore_index=True)
    if "split" in listing:
        listing["split"] = listing["split"].fillna("")
    listing.attrs["classes"] = [pair for part in parts for pair in part.attrs["classes"]]
    return listing


def _list_classes(root: Path, folder: Path, *, domain: str) -> pd.DataFrame:
    class_folders = subfolders(folder)
    if not class_folders:
        raise UserError(
            "no class folders found",
            where=str(folder),
            got=f"{sum(1 for _ in folder.iterdir())} entries, none of them a folder",
            expected="one folder per class, with the examples inside",
            fix="sort the files into class folders, or point data.root at a .csv/.jsonl table",
        )
    splits = split_folders(class_folders)
    if len(splits) == len(class_folders) and all(_holds_folders_alone(one) for one in splits):
        return _joined(
            [_list_classes(root, f, domain=domain).assign(split=name) for f, name in splits.items()]
        )
    rows = []
    for class_folder in class_folders:
        for path, reason, detail in _walk(class_folder, root):
            example = path.relative_to(root).as_posix()
            label = class_name(class_folder.name)
            rows.append((example, str(path), label, domain, reason, detail))
    listing = pd.DataFrame(sorted(rows), columns=LISTING_COLUMNS)
    listing.attrs["classes"] = [[domain, class_name(f.name)] for f in class_folders]
    return listing


def subfolders(folder: Path) -> list[Path]:
    """The folders in a folder, sorted, without those that are nobody's data. Raises UserError where
    it may not be read."""
    try:
        entries = sorted(folder.iterdir())
    except PermissionError as error:
        raise UserError(
            "no permission to read the data folder", where=str(folder), fix="chmod u+rx"
        ) from error
    return [e for e in entries if not is_ignored(e.name) and e.is_dir()]


def _holds_folders_alone(folder: Path) -> bool:
    """Whether it may be a folder of class folders; not of a link, which is judged as a class."""
    if folder.is_symlink() or not os.access(folder, os.R_OK | os.X_OK):
        return False
    entries = [entry for entry in folder.iterdir() if not is_ignored(entry.name)]
    return bool(entries) and all(entry.is_dir() for entry in entries)


def _walk(entry: Path, root: Path) -> Iterator[tuple[Path, str, str]]:
    """Yield (path, reason, detail) for every file below `entry`; links are judged, not followed."""
    if entry.is_symlink():
        reason, detail = link_problem(entry, root)
        yield entry, reason, detail
    elif entry.is_dir():
        try:
            inside = sorted(entry.iterdir())
        except PermissionError:
            yield entry, "unreadable", "no permission to list this folder"
            return
        for path in inside:
            if not is_ignored(path.name):
                yield from _walk(path, root)
    elif entry.is_file():
        yield entry, "", ""
    else:
        yield entry, "not_a_file", "a pipe, socket or device, not a file"


def refuse_case_collisions(classes: list[list[str]], *, where: str) -> None:
    spellings: dict[str, set[str]] = defaultdict(set)
    for _, name in classes:
        spellings[name.casefold()].add(name)
    clashes = [" / ".join(sorted(s)) for s in spellings.values() if len(s) > 1]
    if clashes:
        raise UserError(
            "class names differ only by upper and lower case",
            where=where,
            got="; ".join(sorted(clashes)),
            expected="names that differ on every file system (macOS and Windows ignore case)",
            fix="rename or merge the folders (in a table: the labels)",
        )


def restricted(listing: pd.DataFrame, classes: list[str], *, where: str) -> pd.DataFrame:
    if not classes:
        return listing
    wanted = [class_name(name) for name in classes]
    found = {name for _, name in listing.attrs["classes"]}
    missing = [name for name in wanted if name not in found]
    if missing:
        raise UserError(
            f"data.classes names classes that are not there: {', '.join(missing)}",
            where=where,
            got=nearest(missing[0], found) or "no classes",
            expected="names of existing classes (the most similar ones come first above)",
        )
    kept = listing[listing["label"].isin(wanted) | listing["label"].isna()].reset_index(drop=True)
    kept.attrs["classes"] = [pair for pair in listing.attrs["classes"] if pair[1] in wanted]
    return kept
