"""Answers of a registered model, without a server."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from regraft.errors import UserError
from regraft.registry import versions
from regraft.serving.adapting import adapted

if TYPE_CHECKING:
    from regraft.tasks.assistant.assistant import Assistant
    from regraft.tasks.signer import Signer

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
    predictor = _loaded(reference)
    values = list(inputs)
    if test_time:
        predictor = adapted(predictor, test_time, values)
    answers: list[dict[str, Any]] = []
    for start in range(0, len(values), _BATCH):
        answers += predictor.predict(values[start : start + _BATCH])
    return answers


def assistant_of(reference: str, *, language_model: str = "") -> Assistant:
    """The assistant of `NAME`, `NAME@ALIAS` or `NAME/VERSION`; `language_model` (hub name or
    folder) words its answers.

    Raises `UserError` for an unknown reference, a model that cannot be talked to, and a language
    model that cannot be loaded.
    """
    assistant: Assistant | None = getattr(_loaded(reference), "assistant", None)
    if assistant is None:
        raise UserError(
            "this model cannot be talked to",
            where=reference,
            expected="a model of the task question_answering",
            fix="regraft predict NAME INPUT...",
        )
    if not language_model:
        return assistant
    from regraft.tasks.assistant.generation import LanguageModel

    return assistant.worded_by(LanguageModel.load(language_model))


def signer_of(reference: str) -> Signer:
    """The signer of `NAME`, `NAME@ALIAS` or `NAME/VERSION`.

    Raises `UserError` for an unknown reference and a model that does not sign.
    """
    signer: Signer | None = getattr(_loaded(reference), "signer", None)
    if signer is None:
        raise UserError(
            "this model does not sign",
            where=reference,
            expected="a model of the task speech_to_sign whose recordings were paired with motions",
        )
    return signer


def _loaded(reference: str) -> Any:
    found = versions.resolve(reference)
    from regraft.tasks import load_model

    with versions.model_folder(found.name, found.version) as folder:
        return load_model(folder)
