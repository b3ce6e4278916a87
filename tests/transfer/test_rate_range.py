"""The rate range test: by formula, with noise, and on a real optimiser."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from regraft.transfer.rate_range import range_test, suggested_rate

RATES = np.geomspace(1e-7, 1.0, 100)


def curve(noise: float = 0.0, seed: int = 0) -> np.ndarray:
    """Flat, falls steepest at 1e-4, lowest about 1e-3, blows up beyond 1e-2."""
    x = np.log10(RATES)
    fall = -1 / (1 + np.exp(-4 * (x + 4)))
    rise = np.exp(3 * (x + 1.5))
    return 2 + fall + rise + np.random.default_rng(seed).normal(0, noise, len(x))


def test_the_rate_is_found_on_the_slope_before_the_minimum() -> None:
    assert suggested_rate(RATES, curve()) == pytest.approx(1e-4, rel=0.6)


@pytest.mark.parametrize("seed", range(20))
def test_noise_does_not_move_it_by_more_than_a_third_of_a_decade_or_two(seed: int) -> None:
    found = suggested_rate(RATES, curve(noise=0.1, seed=seed))
    assert found is not None
    assert abs(np.log10(found) + 4) < 0.7


def test_the_scale_of_the_loss_does_not_matter() -> None:
    assert suggested_rate(RATES, 100 * curve()) == suggested_rate(RATES, curve())


def test_a_tenth_of_the_minimum_bounds_a_late_fall() -> None:
    losses = np.where(RATES < 0.09, 2.0, 1.0)
    found = suggested_rate(RATES, losses)
    assert found is not None and found <= 0.1


@pytest.mark.parametrize("seed", range(10))
def test_a_loss_that_never_falls_gives_no_rate(seed: int) -> None:
    rng = np.random.default_rng(seed)
    assert suggested_rate(RATES, 1 + rng.normal(0, 0.1, len(RATES))) is None
    assert suggested_rate(RATES, 1 + RATES * 10) is None


def test_a_curve_too_short_is_refused() -> None:
    with pytest.raises(ValueError, match="got 3 losses"):
        suggested_rate([1e-3, 1e-2, 1e-1], [3.0, 2.0, 1.0])
    with pytest.raises(ValueError, match="rising"):
        suggested_rate(RATES[::-1].tolist(), curve().tolist())


def test_the_run_ends_when_the_loss_blows_up_or_is_not_a_number() -> None:
    rates, losses = range_test(lambda rate: 1.0 if rate < 1e-2 else 100.0)
    assert losses[-1] == 100.0 and losses.count(100.0) == 1
    assert rates[-1] < 2e-2
    _, losses = range_test(lambda rate: 1.0 if rate < 1e-2 else float("nan"))
    assert set(losses) == {1.0}


def test_a_quadratic_problem_is_learned_at_the_rate_found() -> None:
    """Least squares with curvature 100: plain SGD diverges above a rate of 0.02."""
    torch.manual_seed(0)
    layer = nn.Linear(20, 1, bias=False)
    target = torch.randn(20, 1)
    scale = torch.sqrt(torch.tensor(50.0))

    def loss() -> torch.Tensor:
        x = scale * torch.randn(64, 20)
        return (layer(x) - x @ target).square().mean()

    def step(rate: float) -> float:
        found = loss()
        layer.zero_grad()
        found.backward()
        with torch.no_grad():
            layer.weight -= rate * layer.weight.grad
        return found.item()

    kept = layer.weight.detach().clone()
    rate = suggested_rate(*range_test(step))
    assert rate is not None and 1e-4 < rate < 0.02
    with torch.no_grad():
        layer.weight.copy_(kept)
    first = loss().item()
    for _ in range(100):
        step(rate)
    assert loss().item() < 0.2 * first
