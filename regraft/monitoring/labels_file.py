"""Labels that came later, as lines of a file: {"id" or "input_hash": ..., "label": ...}."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Sequence
from pathlib import Path

from regraft.data.files import atomic_write
from regraft.monitoring.line_files import append_bytes, opened
from regraft.monitoring.log_folder import FEEDBACK, Held, content_of
from regraft.monitoring.record import framed, parsed

Key = tuple[str, str]
"""("id" or "input_hash", its value)."""


def labels(folder: Path) -> dict[Key, tuple[str, int]]:
    """The label of each key that has one, and its order of arrival. The last one wins."""
    found: dict[Key, tuple[str, int]] = {}
    for number, values in parsed(content_of(folder / FEEDBACK)).values:
        kind = "id" if "id" in values else "input_hash"
        found[kind, values[kind]] = (values["label"], number)
    return found


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
    kept = sorted(
        (number, kind, value, label)
        for (kind, value), (label, number) in labels(folder).items()
        if (kind, value) in known
    )
    lines = [
        framed(number, json.dumps({kind: value, "label": label}).encode())
        for number, kind, value, label in kept
    ]
    atomic_write(path, lambda partial: partial.write_bytes(b"".join(lines)))
