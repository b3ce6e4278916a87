"""The clients of `regraft bench serve`, and what batching is for."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from regraft.bench.serving.clients import Target, load, mlflow_body
from regraft.cli.tables import serving_table
from regraft.serving.batching import Batcher
from tests.serving.servers import World, running
from tests.serving.support import BrightnessPredictor, picture


def target(address: str, body: bytes, path: str = "/predict", kind: str = "image/png") -> Target:
    return Target("ours", address, path, kind, [body])


def test_figures_count_what_was_answered_and_what_was_not() -> None:
    with running() as server:
        good = load(target(server.address, picture(3)), clients=3, seconds=0.3)
        body = mlflow_body(picture(3))
        records = load(
            target(server.address, body, "/invocations", "application/json"), clients=1, seconds=0.1
        )
        bad = load(target(server.address, b"no picture"), clients=1, seconds=0.1)
        answered = len(server.log.records)

    assert good["requests"] + records["requests"] == answered
    assert good["failed"] == records["failed"] == 0
    assert bad["failed"] == bad["requests"] > 0 and bad["requests_per_second"] == 0
    assert good["p50_ms"] <= good["p95_ms"] <= good["p99_ms"]
    gone = load(target(server.address, picture(3)), clients=1, seconds=0.1)
    assert gone["requests"] == 0 and gone["failed"] > 0
    table = serving_table({"rows": [good, gone], "batching_overhead_ms": 0.25})
    assert "ours" in table and "the queue adds 0.25 ms" in table


class Costly(BrightnessPredictor):
    """As long for a batch as for one input."""

    calls = 0

    def answer(self, inputs: list[Any]) -> Any:
        type(self).calls += 1
        time.sleep(0.02)
        return super().answer(inputs)


def test_under_load_one_call_answers_several_clients() -> None:
    world = World(model=lambda version: Costly.of(["dark", "light"]))
    with running(world=world) as server:
        Costly.calls = 0
        found = load(target(server.address, picture(3)), clients=8, seconds=1.0)

    assert found["failed"] == 0
    assert found["requests"] > 2 * Costly.calls


def test_the_queue_costs_a_lone_call_little() -> None:
    batcher: Batcher[int, int] = Batcher(
        lambda items: items, max_batch=8, max_waiting=8, window_seconds=10.0
    )
    seconds = []
    for number in range(300):
        started = time.perf_counter()
        assert batcher.submit("m", [number])[0].result(30) == number
        seconds.append(time.perf_counter() - started)
    batcher.close(1)

    assert np.quantile(seconds, 0.1) < 0.002  # the machine may be busy, the queue must not be
