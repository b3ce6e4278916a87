"""The figures of retrieval, on rankings that can be worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from regraft.errors import UserError
from regraft.evaluation.retrieval import (
    abstention,
    better_than,
    echoes,
    error_at,
    rank_passages,
    retrieval_metrics,
)

SCORES = np.array([[0.9, 0.1, 0.2], [0.5, 0.4, 0.3], [0.1, 0.2, 0.3]])


def test_places_of_the_right_passages() -> None:
    found = rank_passages(SCORES, [[0], [2], [0, 1]])
    assert found.rank.tolist() == [1, 3, 2]
    both = (1 / np.log2(3) + 1 / np.log2(4)) / (1 + 1 / np.log2(3))
    assert found.ndcg == pytest.approx([1.0, 1 / np.log2(4), both])
    assert found.confidence.tolist() == [0.9, 0.5, 0.3]


def test_metrics_of_a_ranking() -> None:
    found = retrieval_metrics(rank_passages(SCORES, [[0], [2], [0, 1]]))
    assert found["recall_at_1"] == pytest.approx(1 / 3)
    assert found["recall_at_5"] == 1
    assert found["mrr"] == pytest.approx((1 + 1 / 3 + 1 / 2) / 3)
    assert found["low"] < 1 / 3 < found["high"]


def test_equal_scores_find_nothing() -> None:
    assert rank_passages(np.zeros((2, 4)), [[0], [3]]).rank.tolist() == [4, 4]


def test_a_question_without_a_right_passage_and_nan_are_refused() -> None:
    with pytest.raises(UserError, match="right passage"):
        rank_passages(SCORES, [[0], [], [1]])
    with pytest.raises(UserError, match="no scores"):
        rank_passages(np.full((1, 2), np.nan), [[0]])
    with pytest.raises(UserError, match="no scores"):
        rank_passages(np.zeros((0, 2)), [])


def test_error_among_the_surest() -> None:
    correct = [True] * 8 + [False] * 2
    sure = np.linspace(1, 0.1, 10)
    assert error_at(correct, sure, 0.8) == 0
    assert error_at(correct, sure, 1.0) == pytest.approx(0.2)
    assert error_at(correct, -sure, 0.8) == pytest.approx(0.25)


def test_better_is_told_from_equal() -> None:
    right = [[0]] * 40
    good, bad = np.tile([1.0, 0.0], (40, 1)), np.tile([1.0, 0.0], (40, 1))
    bad[:20] = [0.0, 1.0]
    found = better_than(rank_passages(good, right), rank_passages(bad, right))
    assert found["difference"] == pytest.approx(0.5)
    assert found["low"] > 0
    same = better_than(rank_passages(bad, right), rank_passages(bad, right))
    assert same["low"] == same["high"] == 0


def test_abstention_counts_both_kinds() -> None:
    found = abstention([0.9, 0.5, 0.2], [0.1, 0.6], threshold=0.5)
    assert found == {"answered": pytest.approx(2 / 3), "abstained": 0.5}
    with pytest.raises(UserError, match="both kinds"):
        abstention([], [0.1], threshold=0.5)


def test_what_an_echo_is() -> None:
    question = "How to prevent gout ?"
    assert echoes(question, "How to prevent gout: drink water.")
    assert not echoes(question, "Drink water. How else can gout be prevented?")
