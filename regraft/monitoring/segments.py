"""Sealed parts of the prediction log: one parquet file each, named by its content."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from regraft.data.files import atomic_write
from regraft.errors import UserError
from regraft.monitoring.log_folder import CORRUPT
from regraft.monitoring.record import PLAIN
from regraft.monitoring.samples import PROBABILITY, STATISTIC
from regraft.progress import note

EMBEDDING = "embedding"
Part = tuple[pd.DataFrame, list[np.ndarray]]
"""Rows of the log, and their embeddings."""
_SHOWN = 16


class DamagedSegmentError(Exception):
    """The file does not hold what its name says."""


def table_of(values: Sequence[tuple[int, dict[str, Any]]]) -> Part:
    """Rows and embeddings (float16) of the (sequence, fields) of log lines."""
    plain = {name: [fields[name] for _, fields in values] for name in PLAIN}
    plain["sequence"] = [number for number, _ in values]
    parts = [pd.DataFrame(plain)]
    for prefix, name in ((STATISTIC, "statistics"), (PROBABILITY, "probabilities")):
        found = pd.DataFrame([fields[name] for _, fields in values], dtype=np.float64)
        parts.append(found.add_prefix(prefix))
    embeddings = [
        np.frombuffer(base64.b64decode(fields[EMBEDDING]), dtype="<f2") for _, fields in values
    ]
    return pd.concat(parts, axis=1), embeddings


def write_segment(folder: Path, rows: pd.DataFrame, embeddings: Sequence[np.ndarray]) -> Path:
    """Write rows (in order of `sequence`) as a segment that is on the disk when this returns."""
    table = pa.Table.from_pandas(rows, preserve_index=False)
    column = pa.array(list(embeddings), type=pa.list_(pa.float16()))
    table = table.append_column(EMBEDDING, column)
    buffer = pa.BufferOutputStream()
    pq.write_table(table, buffer, compression="zstd")
    content = buffer.getvalue().to_pybytes()
    first, last = (int(rows["sequence"].iloc[end]) for end in (0, -1))
    path = folder / f"segment-{first:012d}-{last:012d}-{_digest(content)}.parquet"
    atomic_write(path, lambda partial: _write_through(partial, content))
    sync_folder(folder)
    return path


def is_whole(path: Path) -> bool:
    """Is every bit of a segment as it was written?"""
    return _digest(path.read_bytes()) == path.stem.rpartition("-")[2]


def read_segment(path: Path) -> Part:
    """Rows and embeddings of a segment.

    Raises DamagedSegmentError where a single bit is not as it was written, FileNotFoundError where
    it has been removed meanwhile.
    """
    content = path.read_bytes()  # once: what was checked is what is read
    if _digest(content) != path.stem.rpartition("-")[2]:
        raise DamagedSegmentError(path.name)
    table = pq.read_table(pa.BufferReader(content))
    column = table.column(EMBEDDING).combine_chunks()
    values = column.values.to_numpy(zero_copy_only=False)
    ends = column.offsets.to_numpy()
    embeddings = [values[start:end] for start, end in pairwise(ends)]
    return table.drop_columns([EMBEDDING]).to_pandas(), embeddings


def read_columns(path: Path, names: Sequence[str]) -> pd.DataFrame:
    """Some plain columns of a segment, without checking all of the file. Empty where it is damaged
    or has been removed."""
    try:
        return pq.read_table(path, columns=list(names)).to_pandas()
    except (OSError, ValueError, KeyError, pa.ArrowException):
        return pd.DataFrame({name: [] for name in names}, dtype=object)


def set_aside(path: Path) -> None:
    """Rename a damaged file, so that it is counted, kept for a person to look at, and in nobody's
    way; say so."""
    try:
        path.rename(path.with_name(path.name + CORRUPT))
    except FileNotFoundError:
        return  # somebody else has
    except OSError as error:
        note(f"the damaged log file {path} could not be renamed: {error.strerror}")
        return
    note(f"the log file {path.name} is damaged; it was set aside as {path.name}{CORRUPT}")


def sync_folder(folder: Path) -> None:
    """Make a rename in this folder survive a power cut."""
    file = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def moment(text: str) -> pd.Timestamp:
    """An ISO 8601 time, in UTC where it says no zone. Raises UserError."""
    try:
        found = pd.Timestamp(text)
        return found.tz_localize("UTC") if found.tzinfo is None else found.tz_convert("UTC")
    except ValueError as error:
        raise UserError(
            "this is no time", got=text, expected="ISO 8601, such as 2030-01-31T08:00:00Z"
        ) from error


def _write_through(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:_SHOWN]
