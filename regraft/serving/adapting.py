"""Test-time adaptation at serving: the model follows the domain of its latest inputs.

What is adapted and how is in `regraft.transfer.test_time`; the registered version stays as it is.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np

from regraft.errors import in_short
from regraft.progress import note
from regraft.serving.loaded import LoadedModel


def adapted(predictor: Any, kind: str, inputs: Sequence[Any]) -> Any:
    """A predictor like this one, adapted to `inputs` without labels.

    Raises `UserError` when they are too few, or the network has nothing to adapt.
    """
    from regraft.transfer.test_time import adapt

    return predictor.with_model(adapt(kind, predictor.model, list(predictor.batches(list(inputs)))))


def adapting(model: LoadedModel, kind: str, n_inputs: int) -> LoadedModel:
    """The same version, answering as `AdaptingPredictor`. Raises `UserError` for a network that has
    nothing to adapt."""
    from regraft.transfer.test_time import check_adaptable

    check_adaptable(kind, model.predictor.model)
    return replace(model, predictor=AdaptingPredictor(model.predictor, kind, n_inputs))


class AdaptingPredictor:
    """Answers with a copy of the model that is adapted anew, beside the answering, each time half
    of the last `n_inputs` inputs are new.

    Embeddings stay those of the registered model, which costs a second forward pass: what the
    monitors compare with their reference must not be adapted until nothing seems to have drifted.
    """

    def __init__(self, predictor: Any, kind: str, n_inputs: int) -> None:
        self.registered, self.kind = predictor, kind
        self.answering = predictor
        self.adaptations = 0
        self._latest: deque[Any] = deque(maxlen=n_inputs)
        self._new, self._lock = 0, threading.Lock()
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="regraft-test-time")
        self._running: Future[None] | None = None
        self._problem = ""

    def __getattr__(self, name: str) -> Any:
        """How inputs are read and what the classes are does not change."""
        return getattr(self.registered, name)

    def predict(self, inputs: list[Any]) -> list[dict[str, Any]]:
        """The answers alone; see `answer`."""
        return self.answer(inputs)[0]

    def answer(self, inputs: list[Any]) -> tuple[list[dict[str, Any]], np.ndarray]:
        """The adapted model's answers, and the registered model's embeddings (n, dim)."""
        now = self.answering
        answers, embeddings = self.registered.answer(inputs)
        if now is not self.registered:
            answers = now.answer(inputs)[0]
        self._remember(inputs)
        return answers, embeddings

    def wait(self) -> None:
        """Until no adaptation runs."""
        if self._running is not None:
            self._running.result()

    def _remember(self, inputs: list[Any]) -> None:
        with self._lock:
            self._latest.extend(inputs)
            self._new += len(inputs)
            busy = self._running is not None and not self._running.done()
            if busy or 2 * self._new < (self._latest.maxlen or 0):
                return
            self._new = 0
            self._running = self._worker.submit(self._adapt, list(self._latest))

    def _adapt(self, inputs: list[Any]) -> None:
        try:
            self.answering = adapted(self.registered, self.kind, inputs)
        except Exception as error:  # noqa: BLE001 (the server must go on answering)
            text = in_short(error)
            if text != self._problem:
                note(f"no test-time adaptation: {text}")
            self._problem = text
        else:
            self.adaptations += 1
