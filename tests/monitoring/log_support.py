"""Records and writers for the tests of the prediction log."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from regraft.monitoring.prediction_log import PredictionLog
from regraft.monitoring.record import Record

ROOT = Path(__file__).parents[2]


def record(number: int, **changes: Any) -> Record:
    values: dict[str, Any] = {
        "id": f"{number:032x}",
        "time": f"2030-01-01T00:00:{number % 60:02d}.000+00:00",
        "model": "plants",
        "version": "3",
        "role": "champion",
        "input_hash": hashlib.sha256(b"%d" % number).hexdigest(),
        "label": "rust" if number % 3 else "healthy",
        "confidence": 0.75,
        "probabilities": {"rust": 0.75, "healthy": 0.25},
        "embedding": np.full(8, number % 100, dtype=np.float32),
        "statistics": {"width": 64.0, "brightness": 0.5},
        "latency_ms": 1.5,
    }
    return Record(**(values | changes))


def log(folder: Path, **changes: Any) -> PredictionLog:
    return PredictionLog(folder, **({"max_bytes": 50_000_000} | changes))


def writer(folder: Path, start: int, *arguments: str) -> subprocess.Popen[str]:
    """A process that appends records from number `start` on, and prints each id once the append
    has returned, until it is killed or `arguments` (how many) are written."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.monitoring.log_support", str(folder), str(start), *arguments],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def _write(folder: str, start: str, count: str = "1000000000") -> None:
    wide = np.arange(1280, dtype=np.float32)
    with PredictionLog(folder, max_bytes=500_000_000, segment_rows=40) as own:
        for number in range(int(start), int(start) + int(count)):
            one = record(number, embedding=wide)
            own.append([one])
            print(one.id, flush=True)


if __name__ == "__main__":
    _write(*sys.argv[1:])
