"""Erasing single answers, because a person asks for it."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import pandas as pd

from regraft.errors import UserError
from regraft.monitoring import kept_inputs, labels_file
from regraft.monitoring.log_folder import (
    CORRUPT,
    TAIL,
    LogLock,
    bytes_of,
    rotated_tails,
    sealing,
    segments,
)
from regraft.monitoring.log_sealing import KEYS, keys_of, known_keys, rotate, seal
from regraft.monitoring.segments import (
    DamagedSegmentError,
    read_columns,
    read_segment,
    set_aside,
    write_segment,
)


def erase(
    folder: str | Path, *, ids: Collection[str] = (), input_hashes: Collection[str] = ()
) -> int:
    """Remove these answers, and every answer to inputs with these hashes, from the log at `folder`;
    with them their labels and the kept inputs that no other answer names. Returns how many.

    Killed half-way, some are gone; the same call removes the rest. Raises UserError where there is
    no log, or where damaged files were set aside: what they hold cannot be told.
    """
    place = Path(folder).resolve()
    if not place.is_dir():
        raise UserError("there is no prediction log here", where=str(place))
    lock = LogLock(place)
    try:
        with lock.held() as held:
            rotate(place, held)
        seal(lock)
        with sealing(place):
            gone = [_without(path, set(ids), set(input_hashes)) for path in segments(place)]
            _forget(lock, pd.concat([pd.DataFrame(columns=[*KEYS]), *gone]))
    finally:
        lock.close()
    aside = sorted(path.name for path in place.glob(f"*{CORRUPT}"))
    if aside:
        raise UserError(
            "damaged files of the log may still hold what was to be erased",
            where=str(place),
            got=", ".join(aside),
            fix="delete these files, then erase again",
        )
    return sum(map(len, gone))


def _without(path: Path, ids: set[str], hashes: set[str]) -> pd.DataFrame:
    """Replace a segment by one that lacks these answers; returns their keys."""
    try:
        rows, embeddings = read_segment(path)
    except DamagedSegmentError:
        set_aside(path)
        return pd.DataFrame(columns=[*KEYS])
    hit = (rows["id"].isin(ids) | rows["input_hash"].isin(hashes)).to_numpy()
    if hit.any():
        kept = [one for one, away in zip(embeddings, hit, strict=True) if not away]
        if kept:  # written first: a reader meets the others twice rather than never
            write_segment(path.parent, rows[~hit].reset_index(drop=True), kept)
        path.unlink()
    return rows.loc[hit, [*KEYS]]


def _forget(lock: LogLock, gone: pd.DataFrame) -> None:
    """Remove kept inputs and labels of answers that are gone and of no other."""
    folder = lock.folder
    sealed = [read_columns(path, KEYS) for path in segments(folder)]
    with lock.held() as held:
        tails = [keys_of(path) for path in [folder / TAIL, *rotated_tails(folder)]]
        left = pd.concat([*sealed, *tails])
        kept_inputs.remove(folder, set(gone["input_path"]) - set(left["input_path"]))
        labels_file.compact(folder, known_keys([left]))
        held.counters.used = bytes_of(folder)
        held.counters.rotated_at = min(held.counters.rotated_at, held.counters.used)
        held.save()
