"""From a retriever and validation questions to an assistant that knows when to be silent."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from regraft.data.examples.general_questions import general_questions
from regraft.errors import UserError
from regraft.tasks.assistant.assistant import Assistant
from regraft.tasks.assistant.confidence import Confidence, Logistic, fit_confidence
from regraft.tasks.assistant.knowledge import Retriever
from regraft.tasks.assistant.replies import NOTICE


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
    the embedded general ones).

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
    inside, best = untaught.features_and_best(questions)
    right = np.array([number in own for number, own in zip(best, relevant, strict=True)])
    confidence = fit_confidence(inside, right, untaught.features_and_best(strangers)[0])
    return Assistant(retriever, confidence, notice=notice)


_SILENT = Logistic((), 0.0)
_UNFITTED = Confidence(_SILENT, _SILENT, abstain_below=1.0, answer_from=1.0)
