"""A topic is found by what it means and by how it is written."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from regraft.tasks.topic_names import TopicNames, distinct

TOPICS = ["gout", "diabetes", "", "gout", "kidney stones"]


def names(topics: Sequence[str]) -> TopicNames:
    return TopicNames(topics, np.eye(len(distinct(topics)), 4))


def test_a_passage_is_named_as_its_topic_is() -> None:
    found = names(TOPICS).named(["What is gout?"], np.zeros((1, 4)))[0]
    assert found[0] == found[3] == pytest.approx(0.5)
    assert found[2] == found[4] == 0
    assert names(TOPICS).names == ["gout", "diabetes", "kidney stones"]


def test_misspelt_names_are_near_and_others_are_not() -> None:
    asked = ["can you cure diabeetes", "pain from kidny stones", "is it raining"]
    found = names(TOPICS).named(asked, np.zeros((3, 4)))
    assert found.argmax(1)[:2].tolist() == [1, 4]
    assert (found[[0, 1], [1, 4]] > 0.25).all()
    assert found[2].max() < 0.1


def test_meaning_counts_where_no_letter_agrees() -> None:
    found = names(TOPICS).named(["too much sugar"], np.array([[0.0, 0.8, 0.1, 0.0]]))[0]
    assert found.argmax() == 1 and found[1] == pytest.approx(0.4, abs=0.05)


def test_without_topics_nothing_is_named() -> None:
    assert (names(["", ""]).named(["gout"], np.ones((1, 4))) == 0).all()
