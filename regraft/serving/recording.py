"""From a batch of inputs to answers that are in the prediction log."""

from __future__ import annotations

import hashlib
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from regraft.monitoring.record import Record
from regraft.serving.loaded import LoadedModel


class AnswerLog(Protocol):
    """Where answers are written before they are given."""

    def append(self, records: Sequence[Record], inputs: Sequence[bytes] | None = None) -> None:
        """Return only when a killed process would not lose them, nor the `inputs` if they are to
        be kept; raise `OSError` if that cannot be."""

    def close(self) -> None:
        """Seal what is open."""


@dataclass(frozen=True, eq=False)
class Item:
    """One input on its way: prepared for its model, and what the log will want to know."""

    id: str
    model: LoadedModel
    data: bytes
    value: Any
    statistics: dict[str, float]
    input_hash: str
    started: float
    """When its preparation began, by the monotonic clock."""


def prepare(model: LoadedModel, data: bytes, *, max_pixels: int, id: str = "") -> Item:
    """Decode one input. Raises `UserError` when the task cannot use it."""
    started = time.monotonic()
    value, statistics = model.predictor.prepare(data, max_pixels=max_pixels)
    input_hash = hashlib.sha256(data).hexdigest()
    return Item(id or uuid.uuid4().hex, model, data, value, statistics, input_hash, started)


def answer(items: Sequence[Item], *, role: str) -> tuple[list[dict[str, Any]], list[Record]]:
    """What the clients get, and what is written, for items of one model.

    An answer is the task's own with `id`, `model` and `version` before it.
    """
    model = items[0].model
    found, embeddings = model.predictor.answer([item.value for item in items])
    further = model.predictor.measured(embeddings)
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    answers, records = [], []
    for item, own, embedding, measured in zip(items, found, embeddings, further, strict=True):
        answers.append({"id": item.id, "model": model.name, "version": model.version, **own})
        records.append(
            Record(
                id=item.id,
                time=now,
                model=model.name,
                version=model.version,
                role=role,
                input_hash=item.input_hash,
                label=own["label"],
                confidence=own["confidence"],
                probabilities=own["probabilities"],
                embedding=embedding,
                statistics=item.statistics | measured,
                latency_ms=round((time.monotonic() - item.started) * 1000, 3),
            )
        )
    return answers, records
