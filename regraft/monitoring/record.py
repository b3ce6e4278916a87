"""One line of the prediction log."""

from __future__ import annotations

import base64
import json
import zlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np

CHAMPION, SHADOW = "champion", "shadow"


@dataclass(frozen=True, eq=False)
class Record:
    """One answer of one model version to one input.

    id: what the client gets, unique. time: UTC, ISO 8601 with milliseconds, by the clock of the
    machine. sequence: the place in the log, given by the log itself when it appends; the order of
    answers even where the clock goes backwards. role: "champion" (its answer was returned) or
    "shadow". input_hash: SHA-256 of the input's bytes. input_path: the kept input, or the file that
    the client named, else "". embedding: (dim,), kept as float16. latency_ms: from the start of
    decoding to the answer.
    """

    id: str
    time: str
    model: str
    version: str
    role: str
    input_hash: str
    label: str
    confidence: float
    probabilities: dict[str, float]
    embedding: np.ndarray
    statistics: dict[str, float] = field(default_factory=dict)
    latency_ms: float = 0.0
    input_path: str = ""
    sequence: int = 0


PLAIN = (
    "id",
    "time",
    "model",
    "version",
    "role",
    "input_hash",
    "input_path",
    "label",
    "confidence",
    "latency_ms",
)
"""Fields that are columns of their own, beside `sequence`."""


def body_of(record: Any, *, input_path: str) -> bytes:
    """A record without its sequence as one line of JSON; the embedding is base64 of float16."""
    embedding = np.ascontiguousarray(record.embedding, dtype="<f2").tobytes()
    values: dict[str, Any] = {name: str(getattr(record, name)) for name in PLAIN}
    values |= {
        "input_path": input_path,
        "confidence": float(record.confidence),
        "latency_ms": float(record.latency_ms),
        "probabilities": {str(k): float(v) for k, v in record.probabilities.items()},
        "statistics": {str(k): float(v) for k, v in record.statistics.items()},
        "embedding": base64.b64encode(embedding).decode(),
    }
    return json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode()


def framed(number: int, body: bytes) -> bytes:
    """A line with its number and checksum: what a bit that flips, or a write that was cut off,
    makes of it is no line.

    >>> framed(7, b'{}')
    b'968af458 7 {}\\n'
    """
    content = b"%d %s" % (number, body)
    return b"%08x %s\n" % (zlib.crc32(content), content)


@dataclass(frozen=True)
class Lines:
    """What a file of framed lines holds: (number, values) in order; lines that are damaged; and
    the bytes after the last newline, which a write in progress or a killed one left."""

    values: list[tuple[int, dict[str, Any]]]
    damaged: list[bytes]
    torn: bytes


def parsed(data: bytes) -> Lines:
    """Take framed lines apart."""
    *lines, torn = data.split(b"\n")
    values, damaged = [], []
    for line in lines:
        found = _value(line)
        if found is None:
            damaged.append(line)
        else:
            values.append(found)
    return Lines(values, damaged, torn)


def _value(line: bytes) -> tuple[int, dict[str, Any]] | None:
    checksum, _, content = line.partition(b" ")
    if checksum != b"%08x" % zlib.crc32(content):
        return None
    number, _, body = content.partition(b" ")
    return int(number), json.loads(body)
