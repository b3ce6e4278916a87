"""Image-text pairs: a table with a file name, a text and a target becomes one listing.

The layout is that of Hugging Face's `imagefolder`: `metadata.jsonl` or `metadata.csv` beside the
images, one row per pair; several rows may share an image. Nothing is dropped silently: a row that
cannot be used keeps its place, with the `reason` filled in.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from regraft.data.images import inspect_image
from regraft.data.tables import TABLE_SUFFIXES, file_problem, raw_table
from regraft.errors import UserError

METADATA = ("metadata.jsonl", "metadata.csv")
LONGEST_TEXT = 20_000
"""Characters; a longer text is no question, caption or report but a file in the wrong column."""

_IMAGE = ("file_name", "image", "path")
_TEXT = ("text", "question", "caption", "report")
_TARGET = ("label", "answer", "target")
_SPLITS = ("train", "test")


def read_pairs(
    root: Path, *, max_pixels: int, test_fraction: float = 0.2, seed: int = 0
) -> pd.DataFrame:
    """Every pair of the table `root`, or of the metadata file in the folder `root`.

    Columns: id (row number), path, text, label (lower case, without a full stop at the end), group
    (equal for pairs whose images have the same bytes), split (the table's own, or drawn: whole
    groups, `test_fraction` of them), reason ('' where the pair can be used) and the table's others.

    Raises UserError: no table, no column for image, text or target, an unknown split, no pair that
    can be used.
    """
    path = _table(Path(root))
    raw = raw_table(path)
    image, text, target = (_column(raw, names, path) for names in (_IMAGE, _TEXT, _TARGET))
    others = raw.drop(columns=[image, text, target]).drop(columns=["id", "group"], errors="ignore")
    pairs = others.assign(
        id=[str(number) for number in range(1, len(raw) + 1)],
        path=[os.path.normpath(path.parent / name) for name in _cells(raw[image])],
        text=_cells(raw[text]),
        label=_cells(raw[target]).str.lower().str.rstrip("."),
    )
    files = {name: _judged(Path(name), path.parent, max_pixels) for name in set(pairs["path"])}
    pairs["group"] = [files[name][0] for name in pairs["path"]]
    pairs["reason"] = [files[name][1] for name in pairs["path"]]
    pairs["reason"] = _with_text_problems(pairs)
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


def _table(root: Path) -> Path:
    if root.is_file() and root.suffix.lower() in TABLE_SUFFIXES:
        return root.resolve()
    for name in METADATA:
        if (root / name).is_file():
            return (root / name).resolve()
    raise UserError(
        "there is no table of image-text pairs",
        where=str(root),
        expected=f"a folder with {' or '.join(METADATA)}, or such a table itself",
    )


def _column(raw: pd.DataFrame, names: Sequence[str], path: Path) -> str:
    for name in names:
        if name in raw.columns:
            return name
    raise UserError(
        "the table of pairs lacks a column",
        where=str(path),
        got=", ".join(map(str, raw.columns)) or "no columns",
        expected=" or ".join(names),
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


def _with_text_problems(pairs: pd.DataFrame) -> list[str]:
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
            "no_label": not row.label,
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
