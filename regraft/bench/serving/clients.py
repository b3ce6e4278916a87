"""Clients that ask one after the other, several at once, for a bounded time."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import numpy as np

_TIMEOUT_SECONDS = 60


@dataclass(frozen=True)
class Target:
    """Where and how a server is asked."""

    name: str
    address: str
    path: str
    content_type: str
    bodies: Sequence[bytes]
    cpu_seconds: Callable[[], float] = lambda: 0.0
    """CPU time that the server's processes have taken so far."""


@dataclass
class _Client:
    target: Target
    until: float
    milliseconds: list[float] = field(default_factory=list)
    failed: int = 0

    def ask(self, number: int) -> None:
        parts = urlsplit(self.target.address)
        connection = http.client.HTTPConnection(
            str(parts.hostname), parts.port, timeout=_TIMEOUT_SECONDS
        )
        headers = {"Content-Type": self.target.content_type}
        bodies = self.target.bodies
        while time.monotonic() < self.until:
            body = bodies[number % len(bodies)]
            number += 1
            started = time.perf_counter()
            try:
                connection.request("POST", self.target.path, body, headers)
                answer = connection.getresponse()
                content = answer.read()
            except (OSError, http.client.HTTPException):
                connection.close()
                self.failed += 1
                continue
            self.milliseconds.append((time.perf_counter() - started) * 1000)
            self.failed += answer.status != 200 or b"label" not in content
        connection.close()


def load(target: Target, *, clients: int, seconds: float) -> dict[str, Any]:
    """Figures of `clients` that ask for `seconds`: answered requests per second, percentiles of
    the latency in milliseconds, CPU milliseconds of the server per answer (on a busy machine the
    one figure that others' work hardly changes), failures (refused, cut off or without a label)."""
    started, cpu = time.monotonic(), target.cpu_seconds()
    asking = [_Client(target, started + seconds) for _ in range(clients)]
    threads = [threading.Thread(target=one.ask, args=(n,)) for n, one in enumerate(asking)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    taken, cpu = time.monotonic() - started, target.cpu_seconds() - cpu
    latencies = [value for one in asking for value in one.milliseconds]
    failed = sum(one.failed for one in asking)
    row = {"server": target.name, "clients": clients, "requests": len(latencies), "failed": failed}
    if not latencies:
        return row
    p50, p95, p99 = np.percentile(latencies, [50, 95, 99])
    return row | {
        "requests_per_second": round((len(latencies) - failed) / taken, 1),
        "p50_ms": round(float(p50), 1),
        "p95_ms": round(float(p95), 1),
        "p99_ms": round(float(p99), 1),
        "cpu_ms_per_answer": round(cpu / len(latencies) * 1000, 1),
    }


def mlflow_body(data: bytes) -> bytes:
    """An image as MLflow's scoring server takes it."""
    import base64

    text = base64.b64encode(data).decode()
    return json.dumps({"dataframe_split": {"columns": ["image"], "data": [[text]]}}).encode()
