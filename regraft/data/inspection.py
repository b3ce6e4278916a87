"""From a listing to an inspected table: what each file holds, and why some cannot be used."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd

from regraft.data.duplicates import (
    OTHER_LABEL_FLAG,
    assign_groups,
    conflicting_rows,
    exact_duplicates,
    near_duplicate_pairs,
)
from regraft.data.readers import LISTING_COLUMNS
from regraft.progress import track

#: Takes a path, returns size, sha256, reason ('' if usable), detail, and for usable examples
#: perceptual_hash ('' if there is none), quality_flags and whatever else the manifest shall carry.
Inspector = Callable[[Path], dict[str, Any]]

_MOST_WORKERS = 8


def inspect_listing(listing: pd.DataFrame, inspect: Inspector) -> pd.DataFrame:
    """Return `listing` with what `inspect` found; rows that had a reason are not opened.

    The files are read by threads: hashing, decoding and resizing leave Python's lock.
    """
    open_ones = listing.index[listing["reason"] == ""]
    paths = listing.loc[open_ones, "path"]
    pool = ThreadPoolExecutor(min(os.cpu_count() or 1, _MOST_WORKERS))
    try:
        results = pool.map(functools.partial(_facts, inspect), paths)
        facts = list(track(results, "inspecting files", total=len(paths)))
    finally:
        pool.shutdown(cancel_futures=True)  # Ctrl-C must not wait for the rest of the files
    found = pd.DataFrame(facts, index=open_ones)
    own = [c for c in found.columns if c in listing.columns and c not in LISTING_COLUMNS]
    kept = listing.rename(columns={name: f"user_{name}" for name in own})
    return _merged(kept, found)


def mark_unlabelled(table: pd.DataFrame, *, target_domain: str) -> pd.DataFrame:
    """Give the reason `no_label` to usable rows without a label outside the target domain; with no
    target domain they are the unlabelled examples."""
    allowed = (table["domain"] == target_domain) | (not target_domain)
    affected = (table["reason"] == "") & table["label"].isna() & ~allowed
    return _with_reason(table, affected, "no_label", "the table gives no label for this example")


def mark_copies(table: pd.DataFrame) -> pd.DataFrame:
    """Give reasons to exact duplicates among the usable rows."""
    copies = exact_duplicates(table[table["reason"] == ""])
    marked = table.copy()
    marked.loc[copies.index, ["reason", "detail"]] = copies[["reason", "detail"]]
    return marked


def group_examples(usable: pd.DataFrame, *, distance: int) -> tuple[pd.DataFrame, int]:
    """Return `usable` with its final `group` and the number of near-duplicate groups.

    Near-duplicates with different labels get the flag `near_duplicate_other_label`.
    """
    pairs = near_duplicate_pairs(usable["perceptual_hash"].tolist(), distance)
    grouped = usable.assign(group=assign_groups(usable, pairs))
    conflicting = conflicting_rows(grouped["label"], pairs)
    flags = grouped["quality_flags"].tolist()
    for row in conflicting:
        flags[row] = ",".join(sorted([*filter(None, flags[row].split(",")), OTHER_LABEL_FLAG]))
    near = {grouped["group"].iat[row] for row in pairs.ravel().tolist()}
    return grouped.assign(quality_flags=flags), len(near)


def _facts(inspect: Inspector, path: str) -> dict[str, Any]:
    try:
        return inspect(Path(path))
    except PermissionError:
        return {"reason": "unreadable", "detail": "no permission to read this file"}
    except FileNotFoundError:
        return {"reason": "missing_file", "detail": "the file vanished while it was inspected"}
    except OSError as error:
        return {"reason": "unreadable", "detail": f"reading failed: {error.strerror or error}"}


def _merged(listing: pd.DataFrame, found: pd.DataFrame) -> pd.DataFrame:
    table = listing.copy()
    for name in ("reason", "detail"):
        if name in found:
            table.loc[found.index, name] = found[name].fillna("")
    for name in [c for c in found.columns if c not in LISTING_COLUMNS]:
        table[name] = found[name].reindex(table.index)
    for name in ("sha256", "perceptual_hash", "quality_flags"):
        values = table[name] if name in table else pd.Series("", index=table.index)
        table[name] = values.fillna("")
    return table if "size" in table else table.assign(size=0)


def _with_reason(table: pd.DataFrame, rows: pd.Series, reason: str, detail: str) -> pd.DataFrame:
    marked = table.copy()
    marked.loc[rows, ["reason", "detail"]] = [reason, detail]
    return marked
