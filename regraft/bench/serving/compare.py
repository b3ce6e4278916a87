"""The same model behind three servers, alone and under load."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from regraft.bench.serving.clients import load
from regraft.bench.serving.servers import NAMES, started
from regraft.errors import UserError
from regraft.progress import note
from regraft.registry import versions
from regraft.serving.batching import Batcher

_EXAMPLES = 16
_WARM_SECONDS = 1.0
_TRIPS = 500


def compare(
    name: str,
    *,
    clients: int,
    seconds: float,
    inputs: Path | None = None,
    servers: Sequence[str] = NAMES,
) -> dict[str, Any]:
    """Ask each server with 1 and with `clients` clients, `seconds` each, after one of warm-up.

    `inputs` is a folder of images (subfolders too); without one, generated leaves. Returns rows
    (see `clients.load`) and `batching_overhead_ms`: what the queue adds to a call of the model that
    is alone (measured in this process). The clients run on the same machine and need CPU too.
    """
    reference = versions.resolve(name)
    images = _read(inputs) if inputs else _leaves()
    rows = []
    with versions.model_folder(*reference) as folder:
        for server in servers:
            note(f"starting {server}")
            with started(server, reference, folder, images) as target:
                for count in dict.fromkeys((1, clients)):
                    load(target, clients=count, seconds=_WARM_SECONDS)
                    rows.append(load(target, clients=count, seconds=seconds))
    return {
        "model": f"{reference.name}/{reference.version}",
        "cores": len(os.sched_getaffinity(0)),
        "seconds": seconds,
        "rows": rows,
        "batching_overhead_ms": _overhead(),
    }


def _overhead() -> float:
    """Median time of a trip through the queue with a call that costs nothing, in milliseconds."""
    batcher: Batcher[int, int] = Batcher(
        lambda items: items, max_batch=16, max_waiting=64, window_seconds=0.002
    )
    taken = []
    for number in range(_TRIPS):
        started = time.perf_counter()
        batcher.submit("model", [number])[0].result()
        taken.append(time.perf_counter() - started)
    batcher.close(1.0)
    return round(float(np.median(taken)) * 1000, 3)


def _read(folder: Path) -> list[bytes]:
    suffixes = {".jpg", ".jpeg"}
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in suffixes)
    if not found:
        raise UserError("there are no images to send", where=str(folder), expected="*.jpg")
    step = max(1, len(found) // _EXAMPLES)
    return [path.read_bytes() for path in found[::step][:_EXAMPLES]]


def _leaves() -> list[bytes]:
    from PIL import Image

    from regraft.data.examples.leaves import draw_leaf

    found = []
    for index in range(_EXAMPLES):
        buffer = io.BytesIO()
        Image.fromarray(draw_leaf("lab", "healthy", index)).save(buffer, "JPEG", quality=90)
        found.append(buffer.getvalue())
    return found
