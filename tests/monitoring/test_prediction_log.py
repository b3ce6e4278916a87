"""What is acknowledged is in the log, whatever happens to writers, clocks, disks and bits."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from regraft.monitoring.log_reading import read_log
from regraft.monitoring.prediction_log import PredictionLog
from regraft.monitoring.record import Record


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


def test_what_is_appended_is_read_before_and_after_sealing(tmp_path: Path) -> None:
    with log(tmp_path, segment_rows=4) as writer:
        for number in range(10):
            writer.append([record(number)])
        live = read_log(tmp_path)
    sealed = read_log(tmp_path)
    for found in (live, sealed):
        assert found.rows["id"].tolist() == [record(number).id for number in range(10)]
        assert found.rows["sequence"].tolist() == list(range(1, 11))
        assert found.embeddings.shape == (10, 8)
        assert found.embeddings[:, 0].tolist() == list(range(10))
        assert found.rows["p:rust"].tolist() == [0.75] * 10
        assert found.rows["stat_width"].tolist() == [64.0] * 10
        assert found.rows["truth"].isna().all()
        assert (found.corrupt_segments, found.corrupt_lines) == (0, 0)
    assert not list(tmp_path.glob("tail*"))
    assert len(list(tmp_path.glob("segment-*"))) >= 3
    assert live.rows.equals(sealed.rows)
