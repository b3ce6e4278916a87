"""The figures of an assistant say what they claim, also of a bad one."""

from __future__ import annotations

import doctest
import math

import pytest

from regraft.data.examples.general_questions import general_questions
from regraft.errors import UserError
from regraft.evaluation import assistant as measured
from regraft.evaluation.assistant import (
    abstention_figures,
    answer_figures,
    assistant_metrics,
    overlap,
)
from regraft.tasks.assistant.assistant import Assistant
from regraft.tasks.assistant.confidence import FEATURES, Confidence, Logistic
from regraft.tasks.assistant.replies import Reply
from tests.tasks.assistant.support import ROWS, TEST, fitted

ASSISTANT = fitted()
NUMBER = {passage.text: n for n, passage in enumerate(ASSISTANT.retriever.passages)}
ASKED = [row for row in ROWS if row["topic"] in TEST and row["style"] == "template"]
QUESTIONS = [row["question"] for row in ASKED]
RELEVANT = [{NUMBER[row["answer"]]} for row in ASKED]
REFERENCES = [row["answer"] for row in ASKED]


def deciding(bias: float) -> Assistant:
    """An assistant that answers everything (a high bias) or nothing."""
    always = Logistic((0.0,) * len(FEATURES), bias)
    return Assistant(ASSISTANT.retriever, Confidence(always, always, always, 0.4, 0.6, 0.5))


@pytest.fixture(scope="module")
def figures() -> dict:
    informal = {
        (row["topic"], row["intent"]): row["question"] for row in ROWS if row["style"] != "template"
    }
    lay = [informal[row["topic"], row["intent"]] for row in ASKED]
    return assistant_metrics(
        ASSISTANT, QUESTIONS, RELEVANT, REFERENCES, variants={"lay wording": lay}
    )


def test_every_part_is_there_and_can_be_written_as_json(figures: dict) -> None:
    import json

    assert json.loads(json.dumps(figures)) == figures
    assert set(figures) == {"abstention", "answers", "robustness", "dialogues"}
    assert set(figures["robustness"]) == {"as asked", "typing errors", "lay wording"}
    assert figures["abstention"]["out_of_domain"]["count"] >= 100
    assert figures["abstention"]["without_topic"]["count"] == len(QUESTIONS)


def test_other_words_and_typing_errors_are_harder(figures: dict) -> None:
    found = {name: one["correct"] for name, one in figures["robustness"].items()}
    assert found["as asked"] > max(found["typing errors"], found["lay wording"])


def test_extraction_is_supported_and_its_correctness_that_of_the_retrieval(figures: dict) -> None:
    answers = figures["answers"]
    assert answers["supported_sentences"] == 1.0
    assert answers["modes"] == {"extractive": answers["count"]}
    assert answers["reference_cited"] == pytest.approx(
        figures["robustness"]["as asked"]["correct"], abs=0.2
    )


def test_the_dialogues_show_the_ways_out(figures: dict) -> None:
    turns = [turn for one in figures["dialogues"] for turn in one["turns"]]
    assert {"answer", "ask_back", "abstain", "safety"} <= {turn["decision"] for turn in turns}
    assert all(turn["reply"] for turn in turns)
    followed = figures["dialogues"][0]["turns"]
    assert followed[0]["topic"].lower() in followed[1]["question"].lower()


def test_an_assistant_without_restraint_and_one_that_is_mute_are_seen_through() -> None:
    strangers = general_questions("test")
    rash = abstention_figures(deciding(9.0), QUESTIONS, RELEVANT, strangers)
    mute = abstention_figures(deciding(-9.0), QUESTIONS, RELEVANT, strangers)
    assert rash["in_domain"]["answered"] == 1 == 1 - rash["out_of_domain"]["abstained"]
    assert mute["in_domain"]["answered"] == 0 == 1 - mute["out_of_domain"]["abstained"]
    assert rash["error_at_100"] == mute["error_at_100"]
    assert rash["without_topic"]["answered"] == 1 == 1 - mute["without_topic"]["answered"]
    careful = abstention_figures(ASSISTANT, QUESTIONS, RELEVANT, strangers)
    assert careful["without_topic"]["answered"] < 0.2


def test_the_confidence_sorts_out_errors(figures: dict) -> None:
    found = figures["abstention"]
    assert found["error_at_80"] < found["error_at_100"]
    coverage = [point["coverage"] for point in found["risk_coverage"]]
    assert coverage == sorted(coverage)
    assert found["risk_coverage"][-1]["risk"] == pytest.approx(found["error_at_100"])


def test_an_invented_sentence_lowers_support_and_another_passage_correctness() -> None:
    best = ASSISTANT.reply([{"role": "user", "content": QUESTIONS[0]}])
    invented = Reply(
        **{**vars(best), "sentences": (*best.sentences, "Aspirin 900 mg cures baldness.")}
    )
    found = answer_figures(ASSISTANT, [invented], ["Nothing of the kind."])
    assert found["supported_sentences"] == pytest.approx(
        len(best.sentences) / (len(best.sentences) + 1)
    )
    assert found["reference_cited"] == 0
    assert found["f1"] < 0.2
    assert answer_figures(deciding(-9), [deciding(-9).reply(
        [{"role": "user", "content": "x"}])], ["y"]) == {"count": 0}  # fmt: skip


def test_overlap_counts_words_not_their_endings() -> None:
    assert doctest.testmod(measured).attempted > 0
    assert doctest.testmod(measured).failed == 0
    assert overlap("", "Rest.") == (0.0, 0.0, 0.0)


@pytest.mark.parametrize("damage", ["nothing", "fewer references", "fewer variants"])
def test_lists_that_do_not_fit_are_refused(damage: str) -> None:
    n = 0 if damage == "nothing" else len(QUESTIONS)
    references = REFERENCES[: n - 1] if damage == "fewer references" else REFERENCES[:n]
    variants = {"lay": QUESTIONS[:3]} if damage == "fewer variants" else {}
    with pytest.raises(UserError, match="measured on questions"):
        assistant_metrics(ASSISTANT, QUESTIONS[:n], RELEVANT[:n], references, variants=variants)


def test_without_strangers_there_is_no_share() -> None:
    found = abstention_figures(ASSISTANT, QUESTIONS, RELEVANT, {})
    assert found["out_of_domain"]["count"] == 0
    assert math.isnan(found["out_of_domain"]["abstained"])
