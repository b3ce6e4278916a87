"""Label-free validators: known values, and the better model wins without a label being seen."""

from __future__ import annotations

import inspect
import math

import numpy as np
import pytest
from scipy.special import softmax

from regraft.errors import UserError
from regraft.evaluation import label_free
from regraft.evaluation.label_free import (
    VALIDATORS,
    information_maximisation,
    mean_entropy,
    soft_neighbourhood_density,
)


def clusters(n: int = 60, spread: float = 0.3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Two clusters around (-2, 0) and (2, 0), and which example is of which."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    centres = np.stack([4.0 * labels - 2.0, np.zeros(n)], 1)
    return centres + rng.normal(0, spread, (n, 2)), labels


def across(x: np.ndarray) -> np.ndarray:
    """A boundary between the clusters."""
    return softmax(np.stack([-3 * x[:, 0], 3 * x[:, 0]], 1), axis=1)


def through(x: np.ndarray) -> np.ndarray:
    """A boundary through both clusters."""
    return softmax(np.stack([-3 * x[:, 1], 3 * x[:, 1]], 1), axis=1)


def islands(x: np.ndarray) -> np.ndarray:
    """Stripes narrower than a cluster: no class is whole."""
    wave = 5 * np.sin(20 * x[:, 0])
    return softmax(np.stack([-wave, wave], 1), axis=1)


def test_entropy_has_its_closed_form() -> None:
    p = np.array([[0.5, 0.5], [1.0, 0.0]])
    assert mean_entropy(p, p) == pytest.approx(-math.log(2) / 2)


def test_information_is_zero_for_one_answer_and_full_for_sure_even_ones() -> None:
    collapsed, even = np.tile([1.0, 0.0, 0.0], (9, 1)), np.eye(3)[np.arange(9) % 3]
    assert information_maximisation(collapsed, collapsed) == pytest.approx(0)
    assert information_maximisation(even, even) == pytest.approx(math.log(3))
    assert mean_entropy(collapsed, collapsed) == mean_entropy(even, even), "entropy is blind to it"


def test_density_of_equal_predictions_is_that_of_a_uniform_choice() -> None:
    p = np.tile([0.7, 0.3], (8, 1))
    assert soft_neighbourhood_density(p, p) == pytest.approx(math.log(7))


def test_density_counts_the_neighbours_of_two_far_clusters() -> None:
    p = np.eye(2)[np.arange(12) % 2]
    assert soft_neighbourhood_density(p, p) == pytest.approx(math.log(5), abs=1e-5)


def test_density_is_the_same_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    p = np.random.default_rng(0).dirichlet([1, 1, 1], 20)
    whole = soft_neighbourhood_density(p, p)
    monkeypatch.setattr(label_free, "_ROWS", 7)
    assert soft_neighbourhood_density(p, p) == pytest.approx(whole)


@pytest.mark.parametrize("name", sorted(VALIDATORS))
def test_a_boundary_between_the_clusters_beats_one_through_them(name: str) -> None:
    x, _ = clusters()
    assert VALIDATORS[name](x, across(x)) > VALIDATORS[name](x, through(x))


def test_no_validator_takes_labels() -> None:
    for function in VALIDATORS.values():
        names = list(inspect.signature(function).parameters)
        assert names[:2] == ["features", "probabilities"]
        assert not {"labels", "targets", "y"} & set(names)


def test_what_is_no_probability_is_refused() -> None:
    with pytest.raises(UserError, match="needs probabilities"):
        mean_entropy(np.zeros((2, 2)), np.array([[0.5, np.nan]]))
    with pytest.raises(UserError, match="neighbours"):
        soft_neighbourhood_density(np.zeros((2, 2)), np.full((2, 2), 0.5))
