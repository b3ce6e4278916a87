"""The manifest: one row per usable example, the table that every step reads."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from regraft.data.files import atomic_write
from regraft.errors import UserError

SPLITS = ("train", "val", "test", "unlabelled", "unused")

#: Columns that every kind of example has, with their pandas dtype.
CORE_COLUMNS = {
    "id": "object",
    "path": "object",
    "label": "object",
    "domain": "object",
    "group": "object",
    "split": "object",
    "size": "int64",
    "sha256": "object",
    "perceptual_hash": "object",
    "quality_flags": "object",
}
#: Columns that only pictures have, only texts, only sounds: statistics of the example.
IMAGE_COLUMNS = {"width": "int64", "height": "int64", "brightness": "float64"}
TEXT_COLUMNS = {"characters": "int64", "words": "int64", "function_words": "float64"}
AUDIO_COLUMNS = dict.fromkeys(
    ("seconds", "sample_rate", "loudness_db", "noise_db", "centre_hz", "peak", "clipped"), "float64"
)
STATISTICS = IMAGE_COLUMNS | TEXT_COLUMNS | AUDIO_COLUMNS
QUARANTINE_COLUMNS = ("id", "path", "label", "domain", "reason", "detail")


def read_manifest(path: Path) -> pd.DataFrame:
    """Read a manifest; `label` is None where the example is unlabelled.

    Raises UserError when the file is missing, is no parquet, or lacks a column.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError("manifest not found", where=str(path), fix="run data validation first")
    try:
        table = pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise UserError(
            "manifest is not readable as parquet",
            where=str(path),
            got=str(error).splitlines()[0],
            fix="run data validation again",
        ) from error
    return _checked(table, where=str(path))


def in_order(table: pd.DataFrame, ids: Iterable[str]) -> pd.DataFrame:
    """The rows with these ids, in the order of the ids."""
    return table.set_index("id").loc[list(ids)].reset_index()


def places(wanted: Iterable[str], ids: Iterable[str]) -> np.ndarray:
    """Where the `wanted` stand among `ids`, which differ: indices in the order of the wanted.

    Raises
    ------
    KeyError
        One is not among them.

    >>> places(["c", "a"], ["a", "b", "c"]).tolist()
    [2, 0]
    """
    at = pd.Index(list(ids)).get_indexer(pd.Index(list(wanted)))
    if (at < 0).any():
        raise KeyError(f"not among the ids: {list(wanted)[int(at.argmin())]}")
    return np.asarray(at)


def files_of(rows: pd.DataFrame) -> list[Path]:
    """The files of these examples, to be given to a predictor. A `Path` that is not there is an
    error to it, where a text could be the input itself."""
    return [Path(path) for path in rows["path"]]


def statistics_in(columns: Iterable[str]) -> list[str]:
    """Which of these columns of a manifest are statistics of the examples, in their order."""
    return [name for name in columns if name in STATISTICS]


def write_manifest(table: pd.DataFrame, path: Path) -> None:
    """Write a manifest so that a reader sees the old file or the whole new one, never a part."""
    table = _checked(table, where=str(path))
    atomic_write(path, lambda temporary: table.to_parquet(temporary, index=False))


def _checked(table: pd.DataFrame, *, where: str) -> pd.DataFrame:
    missing = [name for name in CORE_COLUMNS if name not in table.columns]
    if missing:
        raise UserError(
            "manifest lacks columns",
            where=where,
            got=", ".join(map(str, table.columns)),
            expected=f"also {', '.join(missing)}",
            fix="run data validation again",
        )
    unknown = sorted(set(table["split"]) - set(SPLITS))
    if unknown:
        raise UserError(
            "manifest has unknown splits", where=where, got=str(unknown), expected=str(SPLITS)
        )
    known = CORE_COLUMNS | {k: v for k, v in STATISTICS.items() if k in table.columns}
    extra = [name for name in table.columns if name not in known]
    typed = table[[*known, *extra]].astype(known)
    typed["label"] = [None if pd.isna(label) else label for label in typed["label"]]
    return typed.reset_index(drop=True)
