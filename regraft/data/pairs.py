"""Image-text pairs: a table with a file name, a text and a target becomes one listing.

The layout is that of Hugging Face's `imagefolder`: `metadata.jsonl` or `metadata.csv` beside the
images, or in each of the folders train, validation and test; one row per pair, and several rows may
share an image. Nothing is dropped silently: a row that cannot be used keeps its place, with the
`reason` filled in.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from regraft.data.images import inspect_image
from regraft.data.looked_at import remembering
from regraft.data.pair_files import PairFile, parsed, stored_pair
from regraft.data.pins import split_folders
from regraft.data.readers import existing_root, restricted, subfolders
from regraft.data.rejection import RejectedError
from regraft.data.tables import TABLE_SUFFIXES, file_problem, listing_of, raw_table, row_ids
from regraft.errors import UserError

METADATA = ("metadata.jsonl", "metadata.csv")
LONGEST_TEXT = 20_000
"""Characters; a longer text is no question, caption or report but a file in the wrong column."""

_IMAGE = ("file_name", "image", "path")
_TEXT = ("text", "question", "caption", "report")
_TARGET = ("label", "answer", "target")
_SPLITS = ("train", "test")
_YES_NO = ("yes", "no")
ANSWERS = "answers"
"""Column of the manifest: `yes/no` or `other`, where a table has both."""


def list_pairs(
    root: Path,
    *,
    store: Path,
    source_domain: str,
    target_domain: str,
    classes: list[str],
    auxiliary_labels: Sequence[str] = (),
) -> pd.DataFrame:
    """List the pairs of a table, as `readers.list_examples` does; each becomes a file in `store`
    (see `pair_files`). Pairs with the same image are a group, unless the table says its own.

    A table with the column `path` and no text instead names such files. Raises UserError: no table,
    no column for image, text or target, and as `readers.list_examples`.
    """
    raw, path = _table(existing_root(Path(root)))
    domains = [domain for domain in (source_domain, target_domain) if domain]
    if "path" in raw and not any(name in raw for name in _TEXT):
        listing = listing_of(raw, path, domains=domains, auxiliary_labels=auxiliary_labels)
    else:
        table = _with_files(raw, path, store)
        listing = listing_of(table, path, domains=domains, auxiliary_labels=auxiliary_labels)
        attrs = listing.attrs
        listing = listing.drop(columns="id").rename(columns={"example": "id"})
        listing = listing.sort_values("id", kind="stable").reset_index(drop=True)
        listing.attrs = attrs
    listing["group"] = [
        str(own or _image_of(path)) if not reason else ""
        for own, path, reason in zip(
            listing["group"] if "group" in listing else [""] * len(listing),
            listing["path"],
            listing["reason"],
            strict=True,
        )
    ]
    return restricted(listing, classes, where=str(path))


def _with_files(raw: pd.DataFrame, path: Path, store: Path) -> pd.DataFrame:
    """The table with `path`, `label` and `example`, its name for the row. An image that is not
    there stays the path, so that the listing says what is wrong with it."""
    image, text, target = (_column(raw, names, path) for names in (_IMAGE, _TEXT, _TARGET))
    table = raw.drop(columns=[image, text, target]).assign(
        example=row_ids(raw, path), text=_cells(raw[text]), label=_labels(raw[target])
    )
    table["path"] = [
        str(_paired(path.parent, name, words, store))
        for name, words in zip(_cells(raw[image]), table["text"], strict=True)
    ]
    binary = table["label"].isin(_YES_NO)
    if binary.any() and not binary.all():
        table[ANSWERS] = np.where(binary, "yes/no", "other")
    if "split" in table:
        table["split"] = _cells(table["split"]).replace({"validation": "val"})
    return table


def _paired(folder: Path, name: str, text: str, store: Path) -> Path:
    image = Path(os.path.normpath(folder / name))
    if name and file_problem(image, folder)[0]:
        return image
    return stored_pair(PairFile(image.read_bytes() if name else None, text or None), store)


def _image_of(path: str) -> str:
    try:
        return parsed(Path(path).read_bytes()).image_digest
    except RejectedError:  # inspection says why
        return ""


def _labels(column: pd.Series) -> pd.Series:
    return _cells(column).str.lower().str.rstrip(".")


def read_pairs(
    root: Path,
    *,
    max_pixels: int,
    test_fraction: float = 0.2,
    seed: int = 0,
    need_label: bool = True,
    memory: Path | None = None,
) -> pd.DataFrame:
    """Every pair of the table `root`, or of the metadata file in the folder `root`.

    With `need_label` False the target may be missing, cell by cell or as a column. `memory` is a
    file that remembers the images, so that another call opens only what changed (`looked_at`).

    Columns: id (row number), path, text, label (lower case, without a full stop at the end), group
    (equal for pairs whose images have the same bytes), split (the table's own, or drawn: whole
    groups, `test_fraction` of them), reason ('' where the pair can be used) and the table's others.

    Raises UserError: no table, no column for image, text or target, an unknown split, no pair that
    can be used.
    """
    raw, path = _table(Path(root))
    if not need_label and not set(_TARGET) & set(raw.columns):
        raw = raw.assign(label="")
    image, text, target = (_column(raw, names, path) for names in (_IMAGE, _TEXT, _TARGET))
    others = raw.drop(columns=[image, text, target]).drop(columns=["id", "group"], errors="ignore")
    pairs = others.assign(
        id=[str(number) for number in range(1, len(raw) + 1)],
        path=[os.path.normpath(path.parent / name) for name in _cells(raw[image])],
        text=_cells(raw[text]),
        label=_labels(raw[target]),
    )
    look = partial(_judged, folder=path.parent, max_pixels=max_pixels)
    names = set(pairs["path"])
    files = (
        remembering(look, names, memory) if memory else {name: look(Path(name)) for name in names}
    )
    pairs["group"] = [files[name][0] for name in pairs["path"]]
    pairs["reason"] = [files[name][1] for name in pairs["path"]]
    pairs["reason"] = _with_text_problems(pairs, need_label)
    pairs["split"] = _splits(pairs, path, test_fraction, seed)
    if not (pairs["reason"] == "").any():
        raise UserError(
            "no pair of the table can be used",
            where=str(path),
            got=", ".join(sorted(set(pairs["reason"]))) or "no rows",
        )
    return pairs


def usable(pairs: pd.DataFrame) -> pd.DataFrame:
    """The pairs without a problem."""
    return pairs[pairs["reason"] == ""].drop(columns="reason").reset_index(drop=True)


def _table(root: Path) -> tuple[pd.DataFrame, Path]:
    """The cells, and the path, of a table, of the metadata file in a folder, or of those in its
    split folders together: there images get the folder before their name, and rows its split."""
    if root.is_file() and root.suffix.lower() in TABLE_SUFFIXES:
        return raw_table(root.resolve()), root.resolve()
    own = _metadata(root)
    if own:
        return raw_table(own.resolve()), own.resolve()
    splits = split_folders(subfolders(root)) if root.is_dir() else {}
    tables = {folder: _metadata(folder) for folder in splits}
    without = [folder.name for folder, table in tables.items() if not table]
    if without or not splits:
        raise UserError(
            "there is no table of image-text pairs",
            where=str(root),
            got=f"folders without one: {', '.join(without)}" if without else "",
            expected=f"a folder with {' or '.join(METADATA)}, or folders train and test with one "
            "each, or such a table itself",
        )
    parts = [_of_split(table, splits[folder]) for folder, table in tables.items() if table]
    return pd.concat(parts, ignore_index=True), root.resolve() / METADATA[0]


def _of_split(table: Path, split: str) -> pd.DataFrame:
    """The cells of a split folder's table, its images named from the folder above."""
    raw = raw_table(table)
    image = _column(raw, _IMAGE, table)
    names = [f"{table.parent.name}/{name}" if name else "" for name in _cells(raw[image])]
    return raw.assign(**{image: names, "split": split})


def _metadata(folder: Path) -> Path | None:
    return next((folder / name for name in METADATA if (folder / name).is_file()), None)


def _column(raw: pd.DataFrame, names: Sequence[str], path: Path) -> str:
    for name in names:
        if name in raw.columns:
            return name
    searched = "pairs without labels can be searched: regraft search RECIPE.yaml"
    raise UserError(
        "the table of pairs lacks a column",
        where=str(path),
        got=", ".join(map(str, raw.columns)) or "no columns",
        expected=" or ".join(names),
        fix=searched if names == _TARGET else "",
    )


def _judged(path: Path, folder: Path, max_pixels: int) -> tuple[str, str]:
    """(group, reason) of an image file."""
    reason, _ = file_problem(path, folder)
    if reason:
        return str(path), reason
    facts = inspect_image(path, max_pixels=max_pixels, min_side=1)
    return facts["sha256"][:16], facts["reason"]


def _cells(column: pd.Series) -> pd.Series:
    return column.fillna("").astype(str).str.strip()


def _with_text_problems(pairs: pd.DataFrame, need_label: bool) -> list[str]:
    """The reason of every pair; one with a bad image keeps that."""
    same = ["group", "text"]
    words = pairs.assign(text=pairs["text"].str.casefold())
    labels = words.groupby(same)["label"].transform("nunique")
    repeated = words.duplicated([*same, "label"])
    found = []
    for row, n_labels, again in zip(pairs.itertuples(), labels, repeated, strict=True):
        length = len(str(row.text))
        problems = {
            str(row.reason): bool(row.reason),
            "empty_text": not length,
            "text_too_long": length > LONGEST_TEXT,
            "no_label": need_label and not row.label,
            "conflicting_labels": n_labels > 1,
            "repeated_pair": bool(again),
        }
        found.append(next((reason for reason, is_so in problems.items() if is_so), ""))
    return found


def _splits(pairs: pd.DataFrame, path: Path, test_fraction: float, seed: int) -> list[str]:
    """The table's splits; where a cell is empty a whole group is drawn."""
    own = _cells(pairs["split"]).tolist() if "split" in pairs else [""] * len(pairs)
    own = ["train" if value in {"val", "validation"} else value for value in own]
    unknown = sorted(set(own) - {*_SPLITS, ""})
    if unknown:
        raise UserError(
            "the table of pairs has an unknown split",
            where=f"{path}, column split",
            got=", ".join(unknown),
            expected=f"{' or '.join(_SPLITS)} (validation is drawn from train), or empty",
        )
    groups = sorted(set(pairs["group"]))
    drawn = np.random.default_rng(seed).permutation(len(groups)) < test_fraction * len(groups)
    side = {group: "test" if test else "train" for group, test in zip(groups, drawn, strict=True)}
    return [value or side[group] for value, group in zip(own, pairs["group"], strict=True)]
