"""A challenger in shadow: it gets a share of the inputs after their answers were sent, and what it
says goes to the log only. It never slows or fails a request: what does not fit is left out.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable

from regraft.monitoring.record import SHADOW
from regraft.progress import note
from regraft.serving.following import Follower
from regraft.serving.recording import AnswerLog, Item, answer, prepare
from regraft.serving.telemetry import Telemetry

_MAX_WAITING = 32
_NICE = 10
_SECONDS_FOR_OTHERS = 1.0
_SECONDS_BETWEEN_LOOKS = 0.005


class Shadow:
    """One thread of low priority that answers with the challenger while the champion rests.

    The same input is always in the share or always out of it: its hash decides.
    """

    def __init__(
        self,
        challenger: Follower,
        *,
        share: float,
        max_pixels: int,
        log: AnswerLog | None,
        telemetry: Telemetry,
        idle: Callable[[], bool],
    ) -> None:
        self.challenger, self.share = challenger, share
        self._max_pixels, self._log = max_pixels, log
        self._telemetry, self._idle = telemetry, idle
        self._queue: queue.Queue[Item] = queue.Queue(_MAX_WAITING)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="regraft-shadow", daemon=True)
        self._thread.start()

    def wants(self, input_hash: str) -> bool:
        """Is this input in the challenger's share?"""
        return int(input_hash[:8], 16) < self.share * 2**32

    def offer(self, item: Item) -> None:
        """Hand over an input whose answer was sent; its `data` are needed, because the
        challenger may want them prepared otherwise."""
        try:
            self._queue.put_nowait(item)
        except queue.Full:
            self._telemetry.shadow.labels("left_out").inc()

    def close(self) -> None:
        """What still waits is left out."""
        self._stop.set()
        self._thread.join(_SECONDS_FOR_OTHERS)

    def _work(self) -> None:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
        while not self._stop.is_set():
            try:
                item = self._queue.get(timeout=0.2)
            except queue.Empty:
                continue
            self._wait_for_others()
            try:
                self._telemetry.shadow.labels(self._answer(item)).inc()
            except Exception as error:  # noqa: BLE001 (the challenger must not disturb anybody)
                note(f"the challenger could not answer: {type(error).__name__}: {error}")
                self._telemetry.shadow.labels("failed").inc()

    def _answer(self, item: Item) -> str:
        model = self.challenger.current
        if model is None or model.version == item.model.version:
            return "no_challenger"
        mine = prepare(model, item.data, max_pixels=self._max_pixels, id=f"{item.id}-shadow")
        answers, records = answer([mine], role=SHADOW)
        if self._log is not None:
            self._log.append(records)
        self._telemetry.answers.labels(model.version, SHADOW, answers[0]["label"]).inc()
        return "answered"

    def _wait_for_others(self) -> None:
        deadline = time.monotonic() + _SECONDS_FOR_OTHERS
        while not self._idle() and time.monotonic() < deadline and not self._stop.is_set():
            time.sleep(_SECONDS_BETWEEN_LOOKS)
