"""The questions and answers that `regraft bench medical` measures on, split by topic.

The folder is that of the data pack (see its README): medquad.jsonl with answers and intents, and
two files of questions that consumers really asked. Test topics are drawn first, whole topics at a
time, until 2,000 questions are reached: every other answer to the same disease is a candidate too,
which makes the right aspect of the right disease hard to find.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from regraft.errors import UserError
from regraft.tasks.typing_errors import typed_badly

TEST, TRAIN = 2000, 1000
_FILES = {
    "medquad": "medquad.jsonl",
    "liveqa": "liveqa_med_consumer_questions.jsonl",
    "medication": "medicationqa_consumer_questions.jsonl",
}
INTENT_OF_TYPE = {
    "treatment": "treatment",
    "information": "information",
    "susceptibility": "susceptibility",
    "prognosis": "outlook",
    "cause": "causes",
    "symptom": "symptoms",
    "diagnosis": "exams and tests",
    "inheritance": "inheritance",
}
"""Consumer types that correspond to an intent of MedQuAD."""

Row = dict[str, Any]


@dataclass(frozen=True)
class Questions:
    """Questions and the passages to search.

    Attributes
    ----------
    right : numbers of the passages that answer each question; equal texts are one passage.
    """

    questions: list[str]
    passages: list[str]
    right: list[list[int]]
    intents: list[str]
    topics: list[str]


def rows_of(folder: Path, name: str) -> list[Row]:
    """The rows of one of the files. Raises UserError when it is not there."""
    path = folder / _FILES[name]
    if not path.is_file():
        raise UserError(
            "the questions of the bench are not here",
            where=str(path),
            expected="the folder `medical` of the data packs",
            fix="name it with --data, or set REGRAFT_DATA",
        )
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def drawn(rows: Sequence[Row], seed: int) -> dict[str, list[Row]]:
    """{"test", "train", "val"}: rows of disjoint topics, 2,000, 1,000 and the rest; a pack with
    fewer rows is cut in the same shares."""
    topics = sorted({row["focus"].lower() for row in rows})
    order = np.random.default_rng(seed).permutation(len(topics))
    rank = {topics[number]: place for place, number in enumerate(order)}
    placed = sorted(rows, key=lambda row: rank[row["focus"].lower()])
    n_test = min(TEST, len(rows) // 2)
    n_train = min(TRAIN, len(rows) // 4)
    cuts = [_topic_end(placed, n_test), 0]
    cuts[1] = _topic_end(placed, cuts[0] + n_train)
    return {
        "test": placed[: cuts[0]][:n_test],
        "train": placed[cuts[0] : cuts[1]][:n_train],
        "val": placed[cuts[1] :],
    }


def _topic_end(rows: Sequence[Row], at: int) -> int:
    while 0 < at < len(rows) and rows[at - 1]["focus"].lower() == rows[at]["focus"].lower():
        at += 1
    return at


def of_rows(rows: Sequence[Row]) -> Questions:
    """MedQuAD rows: each answer is a passage."""
    return _questions(
        [row["question"] for row in rows],
        [[row["answer"]] for row in rows],
        intents=[row["intent"] for row in rows],
        topics=[row["focus"].lower() for row in rows],
    )


def sets_of(folder: Path, test: Questions) -> dict[str, Questions]:
    """What is asked: {"medquad": `test`, "mistyped": its questions with typing errors,
    "medication", "liveqa": those of consumers}."""
    badly = [typed_badly(question, number) for number, question in enumerate(test.questions)]
    own = {name: consumers(folder, name, test.passages) for name in ("medication", "liveqa")}
    return {"medquad": test, "mistyped": replace(test, questions=badly), **own}


def consumers(folder: Path, name: str, passages: Sequence[str]) -> Questions:
    """Consumer questions (`liveqa`, `medication`); their answers join `passages`."""
    rows = rows_of(folder, name)
    answers = [row["reference_answers"] if name == "liveqa" else [row["answer"]] for row in rows]
    kept = [number for number, own in enumerate(answers) if own]
    return _questions(
        [rows[i]["question"] for i in kept],
        [answers[i] for i in kept],
        before=passages,
        intents=["" for _ in kept],
        topics=[rows[i]["qid"] for i in kept],
    )


def _questions(
    questions: list[str],
    answers: list[list[str]],
    *,
    intents: list[str],
    topics: list[str],
    before: Sequence[str] = (),
) -> Questions:
    number: dict[str, int] = {}
    for text in [*before, *(text for own in answers for text in own)]:
        number.setdefault(text, len(number))
    right = [[number[text] for text in own] for own in answers]
    return Questions(questions, list(number), right, intents, topics)
