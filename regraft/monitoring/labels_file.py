"""Labels that came later, as lines of a file: {"id" or "input_hash": ..., "label": ...}."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Sequence
from pathlib import Path

from regraft.data.files import atomic_write
from regraft.monitoring.line_files import append_bytes, opened, read_lines
from regraft.monitoring.log_folder import FEEDBACK, Held
from regraft.monitoring.record import Lines, framed, parsed

Key = tuple[str, str]
"""("id" or "input_hash", its value)."""


def labels(folder: Path) -> dict[Key, tuple[str, int]]:
    """The label of each key that has one, and its order of arrival. The last one wins."""
    return _last(lines_of(folder))


def _last(lines: Lines) -> dict[Key, tuple[str, int]]:
    found: dict[Key, tuple[str, int]] = {}
    for number, values in lines.values:
        kind = "id" if "id" in values else "input_hash"
        found[kind, values[kind]] = (values["label"], number)
    return found


def lines_of(folder: Path) -> Lines:
    """The lines of the file, while others append to it."""
    path = folder / FEEDBACK
    return read_lines(path, folder) if path.is_file() else Lines([], [], b"")


def append(folder: Path, held: Held, new: Sequence[tuple[Key, str]]) -> None:
    """Add labels while the lock is held; all of them or, on an error, none."""
    first = held.counters.next_label
    bodies = [json.dumps({kind: value, "label": label}).encode() for (kind, value), label in new]
    data = b"".join(framed(first + place, body) for place, body in enumerate(bodies))
    held.counters.next_label += len(new)
    held.counters.used += len(data)
    held.save()
    file = opened(folder / FEEDBACK)
    try:
        append_bytes(file, data, fsync=True)
    finally:
        os.close(file)


def compact(folder: Path, known: Collection[Key]) -> None:
    """Keep the last label of each known key only. The caller holds the lock."""
    path = folder / FEEDBACK
    if not path.is_file():
        return
    lines = parsed(path.read_bytes())  # the lock is held: nobody appends
    damaged = [line + b"\n" for line in lines.damaged]
    kept = sorted(
        (number, kind, value, label)
        for (kind, value), (label, number) in _last(lines).items()
        if (kind, value) in known
    )
    whole = [
        framed(number, json.dumps({kind: value, "label": label}).encode())
        for number, kind, value, label in kept
    ]
    atomic_write(path, lambda partial: partial.write_bytes(b"".join(whole + damaged)))
