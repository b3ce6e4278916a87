"""Episodes keep near-duplicates on one side and tell good heads from bad ones."""

from __future__ import annotations

import numpy as np
import pytest

from regraft.backbones.heads import KINDS, LinearHead
from regraft.errors import UserError
from regraft.evaluation.episodes import draw, few_shot_accuracy


def sample(per_class: int, *, classes: int = 6, signal: float = 0.4, copies: int = 1):
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(classes), per_class)
    means = rng.normal(size=(classes, 40)) * signal / np.sqrt(40)
    x = means[labels] + rng.normal(size=(len(labels), 40)) / np.sqrt(40)
    x, labels = np.repeat(x, copies, axis=0), np.repeat(labels, copies)
    groups = np.repeat(np.arange(len(labels) // copies), copies)
    return x / np.linalg.norm(x, axis=1, keepdims=True), labels, groups


def test_an_episode_has_its_ways_shots_and_queries() -> None:
    _, labels, groups = sample(20)
    for one in draw(labels, groups, ways=4, shots=5, queries=7, episodes=20, seed=0):
        names, counts = np.unique(labels[one.support], return_counts=True)
        assert counts.tolist() == [5] * 4
        queried, answers = np.unique(labels[one.query], return_counts=True)
        assert queried.tolist() == names.tolist()
        assert answers.tolist() == [7] * 4
        assert len(set(one.support)) == 20


@pytest.mark.parametrize("shots", [1, 4, 10])
def test_near_duplicates_are_never_on_both_sides(shots: int) -> None:
    _, labels, groups = sample(6, copies=3)
    groups[labels == 1] = groups[0]  # a scene that shows two classes
    groups[np.flatnonzero(labels == 1)[:9]] = 10_000
    for one in draw(labels, groups, ways=3, shots=shots, queries=15, episodes=100, seed=1):
        assert not set(groups[one.support]) & set(groups[one.query])
        assert len(one.query)


def test_without_groups_copies_would_leak() -> None:
    """The check above has teeth: noise with copies is only learnable across the sides."""
    x, labels, groups = sample(12, signal=0.0, copies=3)
    heads = {"logistic": KINDS["logistic"]}
    honest = few_shot_accuracy(x, labels, groups, heads=heads, shots=[20], episodes=20)
    leaky = few_shot_accuracy(x, labels, np.arange(len(x)), heads=heads, shots=[20], episodes=20)
    assert honest["logistic"][20]["accuracy"] < 0.35
    assert leaky["logistic"][20]["accuracy"] > 0.6


def test_more_shots_help_and_every_head_beats_chance() -> None:
    x, labels, groups = sample(130)
    found = few_shot_accuracy(x, labels, groups, episodes=6)
    assert set(found) == set(KINDS)
    for by_shots in found.values():
        assert list(by_shots) == [1, 5, 10, 20, 100]
        assert by_shots[100]["accuracy"] > by_shots[1]["accuracy"] > 0.3
        for figures in by_shots.values():
            assert 0 <= figures["low"] <= figures["accuracy"] <= figures["high"] <= 1


def test_a_head_that_does_nothing_is_at_chance() -> None:
    x, labels, groups = sample(20)
    idle = {"idle": lambda x, y: LinearHead(np.zeros((5, 40)), np.zeros(5), 0.0)}
    found = few_shot_accuracy(x, labels, groups, heads=idle, shots=[5], episodes=10)
    assert found["idle"][5]["accuracy"] == pytest.approx(0.2)


def test_shots_that_the_examples_do_not_suffice_for_are_left_out() -> None:
    x, labels, groups = sample(8)
    found = few_shot_accuracy(x, labels, groups, episodes=2)
    assert list(found["ridge"]) == [1, 5]
    with pytest.raises(UserError, match="20 shots"):
        next(draw(labels, groups, ways=5, shots=20, queries=5, episodes=1, seed=0))


def test_one_seed_gives_one_result() -> None:
    x, labels, groups = sample(20)
    first, second = (few_shot_accuracy(x, labels, groups, shots=[5], episodes=3) for _ in range(2))
    assert first == second
    assert few_shot_accuracy(x, labels, groups, shots=[5], episodes=3, seed=1) != first
