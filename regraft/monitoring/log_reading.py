"""Reading the prediction log while it is being written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from regraft.monitoring.kept_inputs import absolute
from regraft.monitoring.labels_file import labels, lines_of
from regraft.monitoring.line_files import read_lines
from regraft.monitoring.log_folder import (
    CORRUPT,
    TAIL,
    last_sequence,
    rotated_tails,
    segments,
)
from regraft.monitoring.record import CHAMPION, PLAIN
from regraft.monitoring.segments import (
    DamagedSegmentError,
    Part,
    moment,
    read_segment,
    set_aside,
    table_of,
)

_PASSES = 20
_COLUMNS = ("id", "time", "sequence", *PLAIN[2:])
_EMPTY = {
    "sequence": np.zeros(0, np.int64),
    "confidence": np.zeros(0),
    "latency_ms": np.zeros(0),
}


@dataclass(frozen=True)
class LoggedAnswers:
    """Answers in the order in which they were given.

    `rows`: id, time, sequence, model, version, role, input_hash, input_path, label (what was
    predicted), confidence, latency_ms, stat_<name>, p:<class>, truth (None where no label came) and
    truth_order (order of the labels' arrival, NaN without). `embeddings` (n, dim) float32, rows of
    NaN where a model had another dimension than that of the last answer. `corrupt_segments` and
    `corrupt_lines` were damaged, set aside, and are missing here.
    """

    rows: pd.DataFrame
    embeddings: np.ndarray
    corrupt_segments: int
    corrupt_lines: int


def read_log(
    folder: str | Path,
    *,
    since: str | None = None,
    version: str | None = None,
    role: str | None = CHAMPION,
    after: int | None = None,
) -> LoggedAnswers:
    """What the log in `folder` holds, ordered by sequence; the tail that is being written included.

    `since`: an ISO time; answers that were given then or later, by the clock of their machine.
    `after`: a sequence number; only later ones. None for `version` or `role` means all.

    Nothing acknowledged is missing or there twice, whatever writers do meanwhile. What is damaged
    is set aside and counted. Raises UserError for a `since` that is no time.
    """
    place = Path(folder).resolve()
    wanted = _Filter(since, version, role, after)
    damage = [0]
    parts = [wanted.part(*part) for part in _parts(place, after, damage)]
    parts = [part for part in parts if len(part[0])]
    rows, embeddings = _joined(parts)
    rows["input_path"] = [absolute(path, place) for path in rows["input_path"]]
    aside = list(place.glob(f"*{CORRUPT}"))
    lines = [path.read_bytes().count(b"\n") for path in aside if path.stem.endswith(".lines")]
    damaged = damage[0] + sum(lines) + len(lines_of(place).damaged)
    return LoggedAnswers(_with_truth(rows, place), embeddings, len(aside) - len(lines), damaged)


@dataclass(frozen=True)
class _Filter:
    since: str | None
    version: str | None
    role: str | None
    after: int | None

    def part(self, rows: pd.DataFrame, embeddings: list[np.ndarray]) -> Part:
        keep = np.ones(len(rows), dtype=bool)
        if self.since is not None:
            start = moment(self.since)
            times = pd.to_datetime(rows["time"], utc=True, format="ISO8601", errors="coerce")
            keep &= (times >= start).to_numpy()
        for name, value in (("version", self.version), ("role", self.role)):
            if value is not None:
                keep &= (rows[name] == str(value)).to_numpy()
        if self.after is not None:
            keep &= (rows["sequence"] > self.after).to_numpy()
        chosen = rows[keep].dropna(axis=1, how="all") if not keep.all() else rows
        return chosen, [embeddings[k] for k in np.flatnonzero(keep)]


def _parts(folder: Path, after: int | None, damage: list[int]) -> Iterator[Part]:
    """Tails and segments, in the direction in which records move: what is sealed while we read is
    met once more, never missed."""
    for find in (lambda: [folder / TAIL], lambda: rotated_tails(folder)):
        for path in find():
            try:
                lines = read_lines(path, folder)
            except FileNotFoundError:
                continue  # sealed meanwhile
            damage[0] += len(lines.damaged)
            yield table_of(lines.values)
    yield from _sealed(folder, after)


def _sealed(folder: Path, after: int | None) -> Iterator[Part]:
    seen: set[Path] = set()
    for _ in range(_PASSES):
        new = [path for path in segments(folder) if path not in seen]
        vanished = False
        for path in new:
            seen.add(path)
            if after is not None and last_sequence(path) <= after:
                continue
            try:
                yield read_segment(path)
            except DamagedSegmentError:
                set_aside(path)
            except FileNotFoundError:
                vanished = True  # removed, or replaced by another one
        if not vanished:
            return


def _joined(parts: list[Part]) -> tuple[pd.DataFrame, np.ndarray]:
    """One table ordered by sequence with each id once, and its embeddings."""
    if not parts:
        return pd.DataFrame({name: _EMPTY.get(name, []) for name in _COLUMNS}), np.zeros(
            (0, 0), np.float32
        )
    rows = pd.concat([rows for rows, _ in parts], ignore_index=True)
    embeddings = [one for _, found in parts for one in found]
    rows = rows.sort_values("sequence", kind="stable").drop_duplicates("id")
    chosen = [embeddings[place] for place in rows.index]
    facts = [str(name) for name in rows if str(name) not in _COLUMNS]
    return rows[[*_COLUMNS, *sorted(facts, reverse=True)]].reset_index(drop=True), _stacked(chosen)


def _stacked(embeddings: list[np.ndarray]) -> np.ndarray:
    dim = len(embeddings[-1])
    found = np.full((len(embeddings), dim), np.nan, dtype=np.float32)
    for place, one in enumerate(embeddings):
        if len(one) == dim:
            found[place] = one
    return found


def _with_truth(rows: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Labels of an id and of its input's hash: whichever came last."""
    known = labels(folder)
    none: tuple[str | None, float] = (None, np.nan)
    found = []
    for identity, digest in zip(rows["id"], rows["input_hash"], strict=True):
        both = [known[key] for key in (("id", identity), ("input_hash", digest)) if key in known]
        found.append(max(both, key=lambda one: one[1]) if both else none)
    truth = pd.Series([label for label, _ in found], dtype=object, index=rows.index)
    order = pd.Series([float(number) for _, number in found], dtype="float64", index=rows.index)
    return rows.assign(truth=truth, truth_order=order)
