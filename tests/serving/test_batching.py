"""The batcher alone: sizes, order, groups, waiting, ends."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from regraft.serving.batching import Batcher
from regraft.serving.problems import Refused


class Gate:
    """A run that can be held, and remembers its batches."""

    def __init__(self) -> None:
        self.batches: list[list[Any]] = []
        self.go = threading.Event()
        self.go.set()

    def __call__(self, items: list[Any]) -> list[Any]:
        self.batches.append(list(items))
        assert self.go.wait(30)
        return [("answer", item) for item in items]


def make(run: Any, **options: Any) -> Batcher[Any, Any]:
    defaults = {"max_batch": 4, "max_waiting": 10, "window_seconds": 0.0}
    return Batcher(run, **(defaults | options))


def hold_first(gate: Gate, batcher: Batcher[Any, Any]) -> Any:
    gate.go.clear()
    first = batcher.submit("m", ["first"])[0]
    while not gate.batches:
        time.sleep(0.001)
    return first


def test_what_gathers_meanwhile_is_one_batch() -> None:
    gate = Gate()
    batcher = make(gate)
    hold_first(gate, batcher)
    futures = batcher.submit("m", list(range(6)))
    gate.go.set()

    assert [future.result(30) for future in futures] == [("answer", n) for n in range(6)]
    assert gate.batches == [["first"], [0, 1, 2, 3], [4, 5]]


def test_items_of_another_model_are_never_mixed_in() -> None:
    gate = Gate()
    batcher = make(gate)
    hold_first(gate, batcher)
    futures = [batcher.submit(model, [item])[0]
               for model, item in (("old", 1), ("new", 2), ("old", 3), ("new", 4))]  # fmt: skip
    gate.go.set()
    for future in futures:
        future.result(30)

    assert gate.batches == [["first"], [1, 3], [2, 4]]


def test_all_or_none_are_queued() -> None:
    gate = Gate()
    batcher = make(gate, max_waiting=3)
    hold_first(gate, batcher)
    batcher.submit("m", [1, 2])

    with pytest.raises(Refused) as refused:
        batcher.submit("m", [3, 4])
    assert refused.value.status == 503
    assert batcher.waiting == 2
    batcher.submit("m", [3])
    gate.go.set()


def test_alone_is_not_kept_waiting_and_company_is_waited_for() -> None:
    gate, coming = Gate(), 0
    batcher = make(gate, window_seconds=60.0, coming=lambda: coming)

    assert batcher.submit("m", [1])[0].result(30) == ("answer", 1)
    coming = 1
    waiting = batcher.submit("m", [2])[0]
    time.sleep(0.05)
    assert not waiting.done()
    coming = 0
    batcher.submit("m", [3])
    assert waiting.result(30) == ("answer", 2)
    assert gate.batches == [[1], [2, 3]]


def test_as_many_as_before_are_waited_for_once() -> None:
    gate = Gate()
    batcher = make(gate, window_seconds=0.3)
    hold_first(gate, batcher)
    batcher.submit("m", [1, 2])
    gate.go.set()
    while len(gate.batches) < 2:
        time.sleep(0.001)
    both = [batcher.submit("m", [item])[0] for item in (3, 4)]  # one after the other
    for future in both:
        future.result(30)
    alone = [batcher.submit("m", [item])[0].result(30) for item in (5, 6)]

    assert gate.batches == [["first"], [1, 2], [3, 4], [5], [6]]
    assert alone == [("answer", 5), ("answer", 6)]


def test_an_error_reaches_those_whose_batch_it_was() -> None:
    def run(items: list[Any]) -> list[Any]:
        if "bad" in items:
            raise ValueError("bad batch")
        return items

    batcher = make(run)

    with pytest.raises(ValueError, match="bad batch"):
        batcher.submit("m", ["bad"])[0].result(30)
    assert batcher.submit("m", ["good"])[0].result(30) == "good"


def test_who_gave_up_is_not_answered() -> None:
    gate = Gate()
    batcher = make(gate)
    hold_first(gate, batcher)
    gone, there = batcher.submit("m", ["gone", "there"])
    assert gone.cancel()
    gate.go.set()

    assert there.result(30) == ("answer", "there")
    assert gate.batches == [["first"], ["there"]]


def test_closing_answers_what_waits_and_takes_nothing_more() -> None:
    gate = Gate()
    batcher = make(gate)
    first = hold_first(gate, batcher)
    last = batcher.submit("m", ["last"])[0]
    assert not batcher.close(0.01)
    with pytest.raises(Refused):
        batcher.submit("m", ["late"])
    gate.go.set()

    assert batcher.close(30)
    assert first.done() and last.result(0) == ("answer", "last")
