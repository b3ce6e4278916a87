"""What an assistant's replies are worth: silence, correctness, support, robustness.

Everything is measured on questions of a test split; thresholds were fitted on validation ones.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from regraft.data.examples.general_questions import general_questions
from regraft.errors import UserError
from regraft.evaluation.calibration import coverage_curve
from regraft.evaluation.retrieval import error_at
from regraft.tasks.assistant.assistant import Assistant
from regraft.tasks.assistant.confidence import ABSTAIN, ANSWER, ASK_BACK
from regraft.tasks.assistant.replies import Reply
from regraft.tasks.assistant.support import supported
from regraft.tasks.assistant.wording import content_words, stem
from regraft.tasks.typing_errors import typed_badly

_REPLIES = 100  # replies that are worded and compared; decisions are measured on every question
_DIALOGUES = 6


def assistant_metrics(
    assistant: Assistant,
    questions: Sequence[str],
    relevant: Sequence[Collection[int]],
    references: Sequence[str],
    *,
    outside: Mapping[str, Sequence[str]] | None = None,
    variants: Mapping[str, Sequence[str]] | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """The figures of the report, as plain values.

    `relevant` are the numbers of each question's right passages, `references` their texts.
    `outside` are questions of other domains by kind (default: the embedded ones that no threshold
    was fitted on). `variants` are the same questions in other words, by name ("paraphrase",
    "lay wording"); typing errors are made here.

    Raises `UserError` without questions, or where the lists differ in length.
    """
    _check(questions, relevant, references, variants or {})
    strangers = outside if outside is not None else general_questions("test")
    few = range(0, len(questions), max(1, len(questions) // _REPLIES))
    replies = [_asked(assistant, questions[i]) for i in few]
    return {
        "abstention": abstention_figures(assistant, questions, relevant, strangers),
        "answers": answer_figures(assistant, replies, [references[i] for i in few]),
        "robustness": robustness_figures(
            assistant,
            {
                "as asked": questions,
                "typing errors": [typed_badly(q, seed + n) for n, q in enumerate(questions)],
                **(variants or {}),
            },
            relevant,
        ),
        "dialogues": example_dialogues(assistant, questions, strangers),
    }


def abstention_figures(
    assistant: Assistant,
    questions: Sequence[str],
    relevant: Sequence[Collection[int]],
    outside: Mapping[str, Sequence[str]],
) -> dict[str, Any]:
    """Shares of the three ways out in the domain, outside of it (also by kind), and in the domain
    with all passages about the topic taken away (`without_topic`, where passages have topics: each
    answer is about something else); and the risk of answering: {coverage, risk} points over the
    confidence, surest first, of which `error_at_80` reads the error among the surest 80 %."""
    inside = assistant.judge(questions)
    right = _right(inside.best, relevant)
    kinds = {kind: assistant.judge(asked).decisions for kind, asked in outside.items() if asked}
    curve = coverage_curve(right, inside.correct)
    return {
        "in_domain": _shares(inside.decisions),
        "out_of_domain": _shares([one for own in kinds.values() for one in own]),
        "kinds": {kind: _shares(own) for kind, own in kinds.items()},
        "without_topic": _shares(assistant.judge_without_topic(questions, relevant).decisions),
        "error_at_100": float(1 - right.mean()),
        "error_at_80": error_at(right, inside.correct, 0.8),
        "risk_coverage": [
            {"coverage": point["coverage"], "risk": 1 - point["accuracy"]} for point in curve
        ],
    }


def answer_figures(
    assistant: Assistant, replies: Sequence[Reply], references: Sequence[str]
) -> dict[str, Any]:
    """Of the replies that answered: the share that quotes the reference passage; how much of the
    reply's words the reference has (precision), of the reference's words the reply has (recall) and
    their F1 (Rajpurkar et al., "SQuAD", EMNLP 2016, section 6.1, on word stems); and the share of
    sentences that the cited passages support."""
    texts = {passage.id: passage.text for passage in assistant.retriever.passages}
    scored, checked, right = [], [], []
    for reply, reference in zip(replies, references, strict=True):
        if reply.decision != ANSWER:
            continue
        cited = [texts[citation.passage] for citation in reply.citations]
        right.append(reference in cited)
        scored.append(overlap(" ".join(reply.sentences), reference))
        checked += [supported(sentence, cited) for sentence in reply.sentences]
    if not scored:
        return {"count": 0}
    precision, recall, f1 = np.mean(scored, axis=0).tolist()
    return {
        "count": len(scored),
        "reference_cited": float(np.mean(right)),
        "precision": precision,
        "recall": recall,
        "f1": f1,
        "supported_sentences": float(np.mean(checked)),
        "sentences": len(checked),
        "modes": dict(Counter(reply.mode for reply in replies if reply.mode)),
    }


def robustness_figures(
    assistant: Assistant, versions: Mapping[str, Sequence[str]], relevant: Sequence[Collection[int]]
) -> dict[str, dict[str, float]]:
    """For each version of the same questions: {count, answered, correct}; `correct` is the share
    whose best passage is right, answered or not."""
    found = {}
    for name, asked in versions.items():
        judged = assistant.judge(asked)
        found[name] = {
            "count": len(asked),
            "answered": judged.decisions.count(ANSWER) / len(asked),
            "correct": float(_right(judged.best, relevant).mean()),
        }
    return found


def example_dialogues(
    assistant: Assistant, questions: Sequence[str], outside: Mapping[str, Sequence[str]]
) -> list[dict[str, Any]]:
    """Dialogues for the report: answers with a follow-up, a question without a topic, strangers,
    and an emergency. Each is {"turns": [{"question", "reply", ...facts}]}."""
    picked = questions[:: max(1, len(questions) // (_DIALOGUES - 3))][: _DIALOGUES - 3]
    strangers = [asked[0] for asked in outside.values() if asked][:2]
    scripts = [[question, "And how is it treated?"] for question in picked]
    scripts += [["Is it inherited?"], strangers, ["My father has collapsed and won't wake up!"]]
    return [{"turns": _turns(assistant, script)} for script in scripts if script]


def overlap(text: str, reference: str) -> tuple[float, float, float]:
    """Precision, recall and F1 of the content words of a text against those of a reference.

    >>> overlap("Rest helps.", "Rest and fluids helped.")
    (1.0, 0.6666666666666666, 0.8)
    """
    own, other = (Counter(stem(word) for word in content_words(t)) for t in (text, reference))
    common = (own & other).total()
    if not common:
        return 0.0, 0.0, 0.0
    precision, recall = common / own.total(), common / other.total()
    return precision, recall, 2 * precision * recall / (precision + recall)


def _right(best: np.ndarray, relevant: Sequence[Collection[int]]) -> np.ndarray:
    return np.array([int(number) in own for number, own in zip(best, relevant, strict=True)])


def _shares(decisions: Sequence[str]) -> dict[str, float]:
    names = {"answered": ANSWER, "asked_back": ASK_BACK, "abstained": ABSTAIN}
    count = len(decisions)
    found = {name: decisions.count(kind) / count if count else float("nan")
             for name, kind in names.items()}  # fmt: skip
    return {"count": count, **found}


def _asked(assistant: Assistant, question: str) -> Reply:
    return assistant.reply([{"role": "user", "content": question}])


def _turns(assistant: Assistant, script: Sequence[str]) -> list[dict[str, Any]]:
    messages: list[dict[str, str]] = []
    turns = []
    for question in script:
        messages.append({"role": "user", "content": question})
        reply = assistant.reply(messages)
        messages.append({"role": "assistant", "content": reply.text})
        turns.append({"asked": question, "reply": reply.text, **reply.facts()})
    return turns


def _check(
    questions: Sequence[str],
    relevant: Sequence[Collection[int]],
    references: Sequence[str],
    variants: Mapping[str, Sequence[str]],
) -> None:
    lengths = {len(questions), len(relevant), len(references), *map(len, variants.values())}
    if len(lengths) > 1 or not questions:
        raise UserError(
            "an assistant is measured on questions with their passages",
            got=f"lists of {', '.join(map(str, sorted(lengths)))}",
            expected="lists of one length, not empty",
        )
