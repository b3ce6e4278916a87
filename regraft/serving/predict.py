"""Answers of a registered model, without a server."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from regraft.registry import versions
from regraft.serving.adapting import adapted

_BATCH = 64  # bounds the memory that decoded images take


def predict(
    reference: str, inputs: Sequence[str | bytes], *, test_time: str = ""
) -> list[dict[str, Any]]:
    """One answer per input from `NAME` (the champion), `NAME@ALIAS` or `NAME/VERSION`.

    An input is whatever the task takes: for images a path, bytes or base64 text. An answer is
    `{"label": str, "confidence": float, "probabilities": {class: float}}`. `test_time` names an
    adaptation of `regraft.transfer.test_time` to these very inputs; the registered model stays.

    Raises `UserError` for an unknown reference and for an input that cannot be read, naming it.
    """
    found = versions.resolve(reference)
    from regraft.tasks import load_model

    with versions.model_folder(found.name, found.version) as folder:
        predictor = load_model(folder)
    values = list(inputs)
    if test_time:
        predictor = adapted(predictor, test_time, values)
    answers: list[dict[str, Any]] = []
    for start in range(0, len(values), _BATCH):
        answers += predictor.predict(values[start : start + _BATCH])
    return answers
