"""From a retriever and validation questions to an assistant that knows when to be silent."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from regraft.data.examples.general_questions import general_questions
from regraft.errors import UserError
from regraft.tasks.assistant.assistant import Assistant
from regraft.tasks.assistant.confidence import Confidence, Logistic, Sample, fit_confidence
from regraft.tasks.assistant.knowledge import Retriever
from regraft.tasks.assistant.replies import NOTICE
from regraft.tasks.assistant.small_talk import with_small_talk
from regraft.tasks.typing_errors import typed_badly


def fit_assistant(
    retriever: Retriever,
    questions: Sequence[str],
    relevant: Sequence[Collection[int]],
    *,
    outside: Sequence[str] = (),
    notice: str = NOTICE,
) -> Assistant:
    """An assistant whose thresholds are fitted on validation `questions` of its domain, of which
    `relevant` names the right passages by number, and on questions from `outside` of it (default:
    the embedded general ones). Every question counts again with typing errors, and in a
    message around it.

    Questions of a test split have no place here.

    Raises `UserError` where they are too few, or none finds its passage.
    """
    if len(questions) != len(relevant):
        raise UserError(
            "every question needs its right passages",
            got=f"{len(questions)} questions, {len(relevant)} lists of passages",
        )
    strangers = list(outside) or [q for kind in general_questions("fit").values() for q in kind]
    untaught = Assistant(retriever, _UNFITTED)
    inside = _sample(untaught, _varied(questions), [*relevant, *relevant, *relevant])
    away = untaught.features_and_best(_varied(strangers))[0]
    confidence = fit_confidence(inside, *np.split(away, [len(strangers)]))
    return Assistant(retriever, confidence, notice=notice)


def _varied(questions: Sequence[str]) -> list[str]:
    """The questions, then their versions as people may send them."""
    numbered = list(enumerate(questions))
    return [
        *questions,
        *(typed_badly(question, number) for number, question in numbered),
        *(with_small_talk(question, number) for number, question in numbered),
    ]


def _sample(
    untaught: Assistant, questions: Sequence[str], relevant: Sequence[Collection[int]]
) -> Sample:
    topics = [passage.topic.casefold() for passage in untaught.retriever.passages]
    features, best = untaught.features_and_best(questions)
    found = list(zip(best, relevant, strict=True))
    return Sample(
        features,
        right=np.array([number in own for number, own in found]),
        on_topic=np.array([topics[number] in {topics[n] for n in own} for number, own in found]),
        as_asked=np.arange(len(questions)) < len(questions) // 3,
        without_topic=untaught.features_without_topic(questions, relevant)[0],
    )


_SILENT = Logistic((), 0.0)
_UNFITTED = Confidence(_SILENT, _SILENT, _SILENT, 1.0, 1.0, 1.0)
