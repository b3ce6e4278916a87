"""Photos of the known classes and of a new one: found, checked, grouped."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pandas as pd

from regraft.data.duplicates import NEAR_DUPLICATE_DISTANCE, near_duplicate_pairs
from regraft.data.files import is_ignored, link_problem
from regraft.data.images import DEFAULT_MAX_PIXELS, DEFAULT_MIN_SIDE, inspect_image
from regraft.data.inspection import group_examples, inspect_listing, mark_copies
from regraft.data.manifest import read_manifest
from regraft.data.readers import LISTING_COLUMNS
from regraft.errors import UserError
from regraft.progress import note
from regraft.registry.run_files import MANIFEST, run_file
from regraft.registry.versions import Reference

FEWEST = 4
"""Photos of a new class, as for a first training (data.min_images_per_class)."""
_SHOWN = 5


def read_new_photos(folder: Path, label: str, known: pd.DataFrame) -> pd.DataFrame:
    """Rows of a manifest (without split) for the photos in `folder`, near-duplicates grouped.

    Copies within the folder are left out. Raises UserError when the folder is missing, a file
    cannot be used, fewer than `FEWEST` photos or two independent ones are left, or a photo is a
    duplicate of one in the manifest `known`.
    """
    inspect = functools.partial(
        inspect_image, max_pixels=DEFAULT_MAX_PIXELS, min_side=DEFAULT_MIN_SIDE
    )
    table = mark_copies(inspect_listing(_listing(folder, label), inspect))
    copies = table["reason"] == "exact_duplicate"
    _refuse_unusable(table[(table["reason"] != "") & ~copies], folder)
    if copies.any():
        note(f"{copies.sum()} copies of other photos in {folder} are left out")
    rows = table[~copies].drop(columns=["reason", "detail"]).reset_index(drop=True)
    _refuse_known(rows, known, folder)
    rows, _ = group_examples(rows, distance=NEAR_DUPLICATE_DISTANCE)
    _refuse_too_few(rows, label, folder)
    return rows


def _listing(folder: Path, label: str) -> pd.DataFrame:
    if not folder.is_dir():
        raise UserError(
            "the folder of the new class does not exist",
            where=str(folder),
            expected="a folder with photos of one class",
        )
    root = folder.resolve()
    rows = []
    for path in sorted(root.rglob("*")):
        inside = path.relative_to(root)
        if path.is_dir() or any(is_ignored(part) for part in inside.parts):
            continue
        reason, detail = link_problem(path, root) if path.is_symlink() else ("", "")
        rows.append((f"{label}/{inside.as_posix()}", str(path), label, "", reason, detail))
    if not rows:
        raise UserError(
            "the folder of the new class is empty",
            where=str(folder),
            expected=f"at least {FEWEST} photos",
        )
    return pd.DataFrame(rows, columns=LISTING_COLUMNS)


def _refuse_unusable(bad: pd.DataFrame, folder: Path) -> None:
    if len(bad):
        names = [f"{Path(str(r.path)).name} ({r.reason}: {r.detail})" for r in bad.itertuples()]
        raise UserError(
            f"{len(bad)} files of the new class cannot be used",
            where=str(folder),
            got=_listed(names),
            expected="intact photos only",
            fix="remove or replace them",
        )


def _refuse_known(rows: pd.DataFrame, known: pd.DataFrame, folder: Path) -> None:
    """A photo that the model was trained or tested on under another name."""
    twins = dict(zip(known["sha256"], known.index, strict=True))
    pairs = [(i, twins[sha]) for i, sha in enumerate(rows["sha256"]) if sha in twins]
    hashes = [*known["perceptual_hash"], *rows["perceptual_hash"]]
    near = near_duplicate_pairs(hashes, NEAR_DUPLICATE_DISTANCE)
    across = near[(near[:, 0] < len(known)) & (near[:, 1] >= len(known))]
    pairs += [(int(j) - len(known), int(i)) for i, j in across]
    if pairs:
        first = dict(reversed(pairs))
        names = [
            f"{Path(str(rows['path'].iat[i])).name} is {known['id'].iat[j]} "
            f"(class {known['label'].iat[j]})"
            for i, j in sorted(first.items())
        ]
        raise UserError(
            f"{len(first)} photos of the new class are duplicates of known photos",
            where=str(folder),
            got=_listed(names),
            expected="photos that no known class has",
            fix="remove them",
        )


def _refuse_too_few(rows: pd.DataFrame, label: str, folder: Path) -> None:
    independent = rows["group"].nunique()
    if len(rows) < FEWEST or independent < 2:
        raise UserError(
            f"class '{label}' has too few photos",
            where=str(folder),
            got=f"{len(rows)} photos, {independent} of them independent",
            expected=f"at least {FEWEST} photos, 2 of them of different scenes",
            fix="add photos",
        )


def _listed(names: list[str]) -> str:
    more = len(names) - _SHOWN
    return "; ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def as_manifest_rows(rows: pd.DataFrame, known: pd.DataFrame, is_test: np.ndarray) -> pd.DataFrame:
    """These rows below those of the manifest `known`; `is_test` (n,) are kept for the test."""
    domain = known.loc[known["split"] == "train", "domain"].mode()
    split = np.where(is_test, "test", "train")
    return pd.concat([known, rows.assign(split=split, domain=domain.iat[0])], ignore_index=True)


def known_photos(
    reference: Reference, given: str | Path | None, classes: list[str], work: Path
) -> pd.DataFrame:
    """The manifest that a version was trained on: `given`, else what its run logged.

    Raises UserError when there is none, it is another model's, or photos are gone.
    """
    rows = read_manifest(Path(given) if given else _logged_manifest(reference, work))
    train, test = rows_of(rows, "train", "val"), rows_of(rows, "test")
    test = test[test["label"].isin(classes)]
    if set(train["label"]) != set(classes) or not len(test):
        raise UserError(
            "the manifest is not that of this model",
            got=f"training rows of {', '.join(sorted(set(train['label'])))}; {len(test)} test rows",
            expected=f"training and test rows of {', '.join(classes)}",
        )
    used = pd.concat([train, test])
    gone = [path for path in used["path"] if not Path(path).is_file()]
    if gone:
        raise UserError(
            f"{len(gone)} of the {len(used)} photos of the known classes are not there",
            where=gone[0],
            expected="the photos that the model was trained and tested on",
            fix="bring them back, or train anew with the recipe",
        )
    unknown = rows["label"].notna() & ~rows["label"].isin(classes)
    return rows[~unknown].reset_index(drop=True)


def _logged_manifest(reference: Reference, work: Path) -> Path:
    found = run_file(reference, MANIFEST, work)
    if found is None:
        raise UserError(
            "the champion's run did not log the manifest of its training data",
            where=f"{reference.name}/{reference.version}",
            expected=f"the artifact {MANIFEST}",
            fix="name the file with --manifest (manifest.parquet in the output folder of the run)",
        )
    return found


def rows_of(manifest: pd.DataFrame, *splits: str) -> pd.DataFrame:
    """The labelled rows of these splits."""
    return manifest[manifest["split"].isin(splits) & manifest["label"].notna()]
