"""GradNorm: weights move to the task that lags behind."""

from __future__ import annotations

import pytest
import torch
from torch.nn import Parameter

from regraft.errors import UserError
from regraft.transfer.gradients.gradnorm import Combination
from tests.transfer.gradients.support import TwoHeads, gradients_of


def run(slopes: list[tuple[float, float]], **options: float) -> Combination:
    """Losses with these slopes (steps, tasks) on one shared weight; their value is the slope."""
    combination = Combination(**({"alpha": 1.5, "learning_rate": 0.05} | options))
    w = Parameter(torch.ones(1, 1))
    for a, b in slopes:
        gradients_of(combination, {"label:a": a * w.sum(), "label:b": b * w.sum()}, [w])
    return combination


def test_the_first_step_by_hand() -> None:
    """Norms 1 and 3, mean 2: the first weight rises, the second falls, by Adam's first step."""
    weights = run([(1.0, 3.0)], learning_rate=0.1).weights
    assert weights["label:a"] == pytest.approx(1.1)
    assert weights["label:b"] == pytest.approx(0.9)


def test_with_alpha_0_the_weighted_norms_become_equal() -> None:
    weights = run([(1.0, 3.0)] * 200, alpha=0.0).weights
    assert weights["label:a"] * 1 == pytest.approx(weights["label:b"] * 3, rel=0.15)


def test_the_slower_task_gets_more_weight() -> None:
    """Norms stay equal; the loss of b falls, that of a does not."""
    combination = Combination(alpha=1.5, learning_rate=0.05)
    w = Parameter(torch.ones(1, 1))
    for step in range(20):
        losses = {"label:a": w.sum(), "label:b": w.sum() - w.detach().sum() * step / 25}
        gradients_of(combination, losses, [w])
    assert combination.weights["label:a"] > 1.1 > 0.9 > combination.weights["label:b"]


def test_weights_sum_to_the_number_of_tasks_and_stay_positive() -> None:
    for slopes in ([(1.0, 1000.0)] * 100, [(5.0, 0.01)] * 100):
        weights = run(slopes, learning_rate=0.5).weights
        assert sum(weights.values()) == pytest.approx(2, rel=1e-5)
        assert min(weights.values()) > 0


def test_learned_weights_scale_the_gradient_of_the_next_step_and_not_the_terms() -> None:
    combination = run([(1.0, 3.0)], learning_rate=0.1)
    w, other = Parameter(torch.ones(1, 1)), Parameter(torch.ones(1, 1))
    losses = {"label:a": w.sum(), "label:b": 3 * w.sum(), "mmd": other.sum()}
    found = gradients_of(combination, losses, [w])
    assert found[0] is not None
    assert found[0].item() == pytest.approx(1.1 + 3 * 0.9)
    assert other.grad is not None
    assert other.grad.item() == 1.0


def test_the_norm_is_taken_at_the_last_layer_that_both_tasks_share() -> None:
    """Heads come first in the optimiser's groups; biases and heads are no shared layer."""
    model, combination = TwoHeads(), Combination(alpha=1.0, learning_rate=0.1)
    parts = (model.a, model.b, model.first, model.last)
    parameters = [one for part in parts for one in part.parameters()]
    a, b = model(torch.randn(8, 6))
    gradients_of(combination, {"label:a": a.mean(), "label:b": b.mean()}, parameters)
    assert combination._shared is model.last.weight


def test_tasks_that_share_nothing_are_refused() -> None:
    model = TwoHeads()
    a, b = model(torch.randn(8, 6))
    heads = [*model.a.parameters(), *model.b.parameters()]
    with pytest.raises(UserError, match="share no trainable"):
        gradients_of(
            Combination(alpha=1.0, learning_rate=0.1),
            {"label:a": a.mean(), "label:b": b.mean()},
            heads,
        )


def test_other_tasks_than_before_are_refused() -> None:
    combination = run([(1.0, 2.0)])
    w = Parameter(torch.ones(1, 1))
    with pytest.raises(ValueError, match="label:c"):
        gradients_of(combination, {"label:a": w.sum(), "label:c": w.sum()}, [w])
