"""Uncertainty weighting: the weight tends to 1 / (2 L)."""

from __future__ import annotations

import pytest
import torch

from regraft.transfer.gradients.uncertainty import Combination
from tests.transfer.gradients.support import gradients_of, shared


def run(combination: Combination, steps: int, a: float, b: float) -> torch.Tensor | None:
    w = shared(1.0)
    found = None
    for _ in range(steps):
        losses = {"label:a": a * w.sum(), "label:b": b * w.sum(), "mmd": 10 * w.sum()}
        (found,) = gradients_of(combination, losses, [w])
    return found


def test_the_first_step_is_the_sum() -> None:
    found = run(Combination(learning_rate=0.1), 1, 5.0, 0.2)
    assert found is not None
    assert found.item() == pytest.approx(15.2)


def test_weights_converge_to_half_the_inverse_loss() -> None:
    combination = Combination(learning_rate=0.05)
    run(combination, 400, 4.0, 0.1)
    assert combination.weights["label:a"] == pytest.approx(1 / 8, rel=0.05)
    assert combination.weights["label:b"] == pytest.approx(5, rel=0.05)


def test_learned_weights_scale_the_tasks_and_not_the_terms() -> None:
    combination = Combination(learning_rate=0.05)
    run(combination, 400, 4.0, 0.1)
    weights = combination.weights
    found = run(combination, 1, 4.0, 0.1)
    assert found is not None
    expected = 4 * weights["label:a"] + 0.1 * weights["label:b"] + 10
    assert found.item() == pytest.approx(expected)


def test_a_loss_that_diverged_leaves_the_weights_alone() -> None:
    combination = Combination(learning_rate=0.05)
    run(combination, 3, 4.0, 0.1)
    before = combination.weights
    run(combination, 1, float("nan"), 0.1)
    assert combination.weights == before
