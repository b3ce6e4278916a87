"""The list of what to label is unsure and spread out."""

from __future__ import annotations

import numpy as np

from regraft.monitoring.active_learning import most_useful, uncertainty


def clusters(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Four clusters of 25 points (n, 8), answers (n, 3), cluster numbers; cluster 3 is sure."""
    rng = np.random.default_rng(seed)
    number = np.repeat(np.arange(4), 25)
    x = rng.normal(size=(4, 8))[number] * 5 + rng.normal(size=(100, 8)) * 0.3
    unsure = np.array([0.4, 0.35, 0.25])
    sure = np.array([0.999, 0.0005, 0.0005])
    return x, np.where((number == 3)[:, None], sure, unsure), number


def test_every_unsure_scene_is_asked_for_before_any_twice() -> None:
    for seed in range(10):
        x, p, number = clusters(seed)
        assert set(number[most_useful(x, p, 3)]) == {0, 1, 2}


def test_sure_answers_come_last() -> None:
    x, p, number = clusters()
    assert 3 not in number[most_useful(x, p, 10)]


def test_what_resembles_a_labelled_example_waits() -> None:
    x, p, number = clusters()
    found = number[most_useful(x, p, 2, labelled=x[number == 0])]
    assert set(found) == {1, 2}


def test_nothing_is_asked_for_twice_and_never_more_than_there_is() -> None:
    x, p, _ = clusters()
    found = most_useful(x, p, 500)
    assert len(found) == len(set(found)) == 100
    same = most_useful(np.zeros((5, 2)), np.full((5, 2), 0.5), 3)
    assert same == [0], "five copies are one example"
    assert most_useful(np.zeros((0, 2)), np.zeros((0, 2)), 3) == []


def test_broken_rows_are_not_asked_for() -> None:
    x, p, _ = clusters()
    x[3] = np.nan
    p[4] = np.nan
    assert not {3, 4} & set(most_useful(x, p, 100))


def test_uncertainty_is_a_share() -> None:
    p = np.array([[1, 0, 0], [1 / 3] * 3, [0.5, 0.5, 0]])
    assert np.allclose(uncertainty(p), [0, 1, np.log(2) / np.log(3)])
