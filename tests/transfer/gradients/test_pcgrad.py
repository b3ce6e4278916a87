"""PCGrad: conflicts go, harmony stays."""

from __future__ import annotations

import pytest
import torch

from regraft.transfer.gradients.pcgrad import Combination, projected_shares
from tests.transfer.gradients.support import TwoHeads, gradients_of, quadratic, shared


def found_for(*minima: tuple[float, ...], seed: int = 0) -> torch.Tensor:
    w = shared(*[0.0] * len(minima[0]))
    losses = {f"label:{i}": quadratic(w, *one) for i, one in enumerate(minima)}
    (found,) = gradients_of(Combination(seed=seed), losses, [w])
    assert found is not None
    return found


def test_two_conflicting_tasks_by_hand() -> None:
    """g1 = (1, 0), g2 = (-1, 1): g1 keeps (1/2, 1/2), g2 keeps (0, 1)."""
    assert torch.allclose(found_for((-1.0, 0.0), (1.0, -1.0)), torch.tensor([0.5, 1.5]))


def test_the_step_opposes_no_task_while_the_sum_would() -> None:
    first, second = torch.tensor([1.0, 0.0]), torch.tensor([-3.0, 1.0])
    found = found_for((-1.0, 0.0), (3.0, -1.0))
    assert found @ first >= -1e-6
    assert found @ second >= -1e-6
    assert (first + second) @ first < 0


def test_aligned_tasks_are_the_sum_bit_for_bit() -> None:
    found = found_for((-1.0, -0.3), (-0.7, -2.0))
    w = shared(0.0, 0.0)
    (quadratic(w, -1.0, -0.3) + quadratic(w, -0.7, -2.0)).backward()
    assert w.grad is not None
    assert torch.equal(found, w.grad)


def test_opposite_tasks_cancel() -> None:
    assert torch.allclose(found_for((1.0, 2.0), (-2.0, -4.0)), torch.zeros(2), atol=1e-6)


def test_it_is_the_algorithm_of_the_paper_written_with_vectors() -> None:
    torch.manual_seed(1)
    gradients = torch.randn(4, 6, dtype=torch.float64)
    order = torch.Generator().manual_seed(7)
    expected = torch.zeros(6, dtype=torch.float64)
    for i in range(4):
        one = gradients[i].clone()
        for j in torch.randperm(4, generator=order).tolist():
            if j != i and one @ gradients[j] < 0:
                one -= (one @ gradients[j]) / (gradients[j] @ gradients[j]) * gradients[j]
        expected += one
    shares = projected_shares(gradients @ gradients.T, torch.Generator().manual_seed(7))
    assert torch.allclose(shares.sum(0) @ gradients, expected)
    assert not torch.allclose(expected, gradients.sum(0))


def test_the_order_matters_and_follows_the_seed() -> None:
    minima = ((1.0, 0.2, 0.0), (-1.0, 0.5, 0.3), (0.2, -1.0, -0.4))
    found = [found_for(*minima, seed=seed) for seed in (1, 1, 2, 3, 4)]
    assert torch.equal(found[0], found[1])
    assert any(not torch.allclose(found[0], other) for other in found[2:])


def test_terms_and_memory_are_added_unprojected() -> None:
    w = shared(0.0, 0.0)
    losses = {
        "label": quadratic(w, -1.0, 0.0),
        "l2_sp": -5 * w[0],
        "memory": -7 * w[0],
    }
    (found,) = gradients_of(Combination(seed=0), losses, [w])
    assert found is not None
    assert found.tolist() == [-11.0, 0.0]


def test_each_head_keeps_its_own_task() -> None:
    model = TwoHeads()
    a, b = model(torch.randn(16, 6))
    losses = {"label:a": (a**2).mean(), "label:b": ((b - 1) ** 2).mean()}
    found = gradients_of(Combination(seed=0), losses, list(model.parameters()))
    assert all(one is not None for one in found)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_diverged_is_left_to_the_engine(bad: float) -> None:
    w = shared(1.0, 1.0)
    losses = {"label:a": w.sum() * bad, "label:b": -w.sum()}
    gradients_of(Combination(seed=0), losses, [w])


def test_a_task_without_gradient_changes_nothing() -> None:
    w = shared(1.0, 1.0)
    losses = {"label:a": w.sum(), "label:b": torch.tensor(2.0)}
    (found,) = gradients_of(Combination(seed=0), losses, [w])
    assert found is not None
    assert found.tolist() == [1.0, 1.0]
