"""Questions are completed from the dialogue where, and only where, they need it."""

from __future__ import annotations

import pytest

from regraft.data.examples.general_questions import general_questions
from regraft.data.examples.health_questions import health_questions
from regraft.tasks.assistant.dialogue import Resolved, Topics, is_follow_up, resolve

ROWS = health_questions()
TOPICS = Topics(row["topic"] for row in ROWS)
ASTHMA = Resolved("What is asthma?", "asthma")


@pytest.mark.parametrize(
    ("asked", "resolved"),
    [
        ("and how is it treated?", "how is asthma treated"),
        ("What are the symptoms?", "What are the symptoms for asthma"),
        ("Is it inherited?", "Is asthma inherited"),
        ("who gets it?", "who gets asthma"),
        ("what are its causes", "what are asthma's causes"),
        ("is there a cure for this disease?", "is there a cure for asthma"),
        ("can my kids inherit it?", "can my kids inherit asthma"),
        ("how long does it last", "how long does asthma last"),
        ("And what about treatment?", "treatment for asthma"),
    ],
)
def test_a_follow_up_is_about_the_last_topic(asked: str, resolved: str) -> None:
    found = resolve(asked, topics=TOPICS, last=ASTHMA)
    assert found.topic == "asthma"
    assert found.question.replace("what about ", "") == resolved


def test_another_topic_takes_over_the_last_question() -> None:
    treated = resolve("how is it treated?", topics=TOPICS, last=ASTHMA)
    for asked in ("and measles?", "what about measles?", "measles"):
        found = resolve(asked, topics=TOPICS, last=treated)
        assert (found.question, found.topic) == ("how is measles treated", "measles")


def test_a_whole_question_changes_the_topic() -> None:
    found = resolve("What are the symptoms of gout?", topics=TOPICS, last=ASTHMA)
    assert found == Resolved("What are the symptoms of gout?", "gout")


def test_without_a_topic_before_it_a_follow_up_stays_open() -> None:
    for last in (None, Resolved("hello")):
        assert resolve("how is it treated?", topics=TOPICS, last=last).open


def test_the_topic_answers_a_question_back() -> None:
    asked = resolve("how is it treated?", topics=TOPICS, last=None)
    found = resolve("gout", topics=TOPICS, last=asked)
    assert (found.question, found.topic) == ("how is gout treated", "gout")


@pytest.mark.parametrize(
    "asked",
    [
        "Is it normal to sneeze in spring?",
        "Will it rain tomorrow?",
        "Who won the football world cup in 2014?",
        "Why does my knee hurt when I climb stairs?",
        "What is lupus?",
    ],
)
def test_a_question_that_stands_alone_is_left_alone(asked: str) -> None:
    assert resolve(asked, topics=TOPICS, last=ASTHMA) == Resolved(asked)


def test_no_template_question_is_taken_for_a_follow_up_and_its_topic_is_found() -> None:
    for row in ROWS:
        if row["style"] == "template":
            assert resolve(row["question"], topics=TOPICS, last=ASTHMA).topic == row["topic"], row


def test_general_questions_are_hardly_taken_for_follow_ups() -> None:
    asked = [
        q for part in ("fit", "test") for kind in general_questions(part).values() for q in kind
    ]
    wrong = [question for question in asked if is_follow_up(question)]
    assert len(wrong) <= 0.05 * len(asked), wrong


def test_the_longest_name_wins() -> None:
    topics = Topics(["pneumonia", "aspiration pneumonia (adults)", ""])
    assert topics.named("What is aspiration pneumonia?") == "aspiration pneumonia (adults)"
    assert topics.named("Pneumonias?") == "pneumonia"
    assert topics.named("What is it?") == ""
