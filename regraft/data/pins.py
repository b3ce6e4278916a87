"""Splits that a table, or the folder a file lies in, decides: what a row is pinned to, and what
follows for its near-duplicates.

A frozen test set stays a test set when data are added: whatever shows the same scene as a pinned
test example is kept out of training, wherever it was pinned to itself.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from regraft.errors import UserError

PINNED = "pinned"
"""Column of the manifest: what the table said, '' where it said nothing."""

_FOLDERS = {
    "train": "train", "training": "train",
    "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "test": "test", "testing": "test",
}  # fmt: skip
_STRICTEST_FIRST = ("test", "val", "train", "unlabelled")


def split_folders(folders: Iterable[Path]) -> dict[Path, str]:
    """Those of the folders that are named like a split, as most published data sets have them; none
    unless one is for training and one is not.

    >>> split_folders([Path("a/train"), Path("a/Validation"), Path("a/images")])
    {PosixPath('a/train'): 'train', PosixPath('a/Validation'): 'val'}
    """
    found = {f: _FOLDERS[f.name.casefold()] for f in folders if f.name.casefold() in _FOLDERS}
    return found if {"train"} < set(found.values()) else {}


def pinned_splits(table: pd.DataFrame) -> dict[int, str]:
    """Row position to split for every row that the column `split` of `table` pins.

    In a group with a pinned test row all rows that are pinned to something else become `unused`;
    in one with a pinned val row, those pinned to training do.
    """
    if "split" not in table:
        return {}
    side = pinned_sides(table)
    return {
        row: name if _may_stay(name, side.get(group, "")) else "unused"
        for row, (name, group) in enumerate(zip(table["split"], table["group"], strict=True))
        if name
    }


def _may_stay(name: str, side: str) -> bool:
    """`side` is the strictest one of the group."""
    training = {"train", "unlabelled"}
    return name in (training if side in training else {side, "unused"})


def pinned_sides(table: pd.DataFrame) -> dict[str, str]:
    """Of every group with a pinned row, the strictest side: test, then val, train, unlabelled."""
    if "split" not in table:
        return {}
    sides: dict[str, set[str]] = defaultdict(set)
    for group, name in zip(table["group"], table["split"], strict=True):
        sides[group].add(name)
    found = {
        group: next((side for side in _STRICTEST_FIRST if side in names), "")
        for group, names in sides.items()
    }
    return {group: side for group, side in found.items() if side}


def pins(manifest: pd.DataFrame) -> pd.Series:
    """What the table said of each row, '' where it said nothing."""
    return manifest[PINNED] if PINNED in manifest else pd.Series("", manifest.index)


def lost_pins(manifest: pd.DataFrame) -> pd.Series:
    """True where a row is not what its table pinned it to, as next to a pinned test row."""
    said = pins(manifest)
    return (said != "") & (said != manifest["split"])


def refuse_unlabelled_source(table: pd.DataFrame, *, target_domain: str) -> None:
    """Raises UserError for rows pinned to `unlabelled` outside the target domain."""
    if "split" not in table:
        return
    outside = (table["domain"] != target_domain) & bool(target_domain)
    wrong = table[(table["split"] == "unlabelled") & outside]
    if len(wrong):
        raise UserError(
            f"{len(wrong)} rows are pinned to unlabelled, outside the target domain",
            where=f"column split, first: {wrong['id'].iat[0]}",
            got=f"target domain {target_domain}, row of {wrong['domain'].iat[0]!r}",
            expected="train, val, test or unused",
            fix="set data.target_domain to the domain of these rows, or correct the cells",
        )
