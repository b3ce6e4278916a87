"""Dynamic batching: one worker answers what is there, at once.

While the model works on one batch the next one gathers by itself, so a server under load fills its
batches without waiting, and a request that is alone goes straight through. Only when further
requests are being decoded at this moment, or as many as were answered last have not come back yet
(their clients have just got their answers), does the worker wait for them, for a small window.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from regraft.serving.problems import busy

T = TypeVar("T")
R = TypeVar("R")


@dataclass(eq=False)
class _Job(Generic[T, R]):
    group: object
    item: T
    future: Future[R] = field(default_factory=Future)


class Batcher(Generic[T, R]):
    """A queue with one worker thread.

    `run(items)` gets 1 to `max_batch` items of one group (the model that they began with), oldest
    first, and returns one result per item; what it raises, each of them gets. `coming()` counts
    the requests that will bring items within moments.
    """

    def __init__(
        self,
        run: Callable[[list[T]], Sequence[R]],
        *,
        max_batch: int,
        max_waiting: int,
        window_seconds: float,
        coming: Callable[[], int] = lambda: 0,
    ) -> None:
        self._run, self._coming = run, coming
        self._max_batch, self._max_waiting = max_batch, max_waiting
        self._window = window_seconds
        self._waiting: deque[_Job[T, R]] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._working = False
        self._last = 1  # size of the batch before
        self._thread = threading.Thread(target=self._work, name="regraft-batches", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Items in the queue."""
        return len(self._waiting)

    @property
    def idle(self) -> bool:
        """Nothing waits and nothing is worked on."""
        return not self._waiting and not self._working

    def submit(self, group: object, items: Sequence[T]) -> list[Future[R]]:
        """Queue all items or none. Raises `Refused` (503) when they don't fit or it is closed."""
        jobs: list[_Job[T, R]] = [_Job(group, item) for item in items]
        with self._changed:
            if self._closed:
                raise busy("the server is stopping", got="stopping", expected="a running server")
            if len(self._waiting) + len(jobs) > self._max_waiting:
                raise busy(
                    "too many inputs are waiting",
                    got=f"{len(self._waiting)} waiting, {len(jobs)} more",
                    expected=f"at most {self._max_waiting}",
                )
            self._waiting.extend(jobs)
            self._changed.notify_all()
        return [job.future for job in jobs]

    def close(self, seconds: float) -> bool:
        """Take nothing more, answer what waits; False when that was not done within `seconds`."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _work(self) -> None:
        while batch := self._next():
            started = [job for job in batch if job.future.set_running_or_notify_cancel()]
            if started:
                self._answer(started)
            self._working = False

    def _answer(self, jobs: list[_Job[T, R]]) -> None:
        try:
            results = self._run([job.item for job in jobs])
        except Exception as error:  # noqa: BLE001 - whatever it is, the requests get it
            for job in jobs:
                job.future.set_exception(error)
            return
        for job, result in zip(jobs, results, strict=True):
            job.future.set_result(result)

    def _next(self) -> list[_Job[T, R]]:
        """The next batch; empty when the queue is closed and worked off."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            deadline = time.monotonic() + self._window
            while self._worth_waiting() and (left := deadline - time.monotonic()) > 0:
                self._changed.wait(left)
            self._working = True
            return self._take()

    def _worth_waiting(self) -> bool:
        here = len(self._waiting)
        if self._closed or here >= self._max_batch:
            return False
        return self._coming() > 0 or here < self._last

    def _take(self) -> list[_Job[T, R]]:
        """Those of the oldest item's group, at most a batch; the others keep their places."""
        batch: list[_Job[T, R]] = []
        others: deque[_Job[T, R]] = deque()
        while self._waiting:
            job = self._waiting.popleft()
            mine = len(batch) < self._max_batch and (not batch or job.group is batch[0].group)
            (batch if mine else others).append(job)
        self._waiting = others
        self._last = len(batch)
        return batch
