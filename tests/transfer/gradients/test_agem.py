"""A-GEM: no step raises the loss on remembered examples."""

from __future__ import annotations

import torch

from regraft.transfer.gradients.agem import Combination
from tests.transfer.gradients.support import TwoHeads, gradients_of, shared


def found_for(new: torch.Tensor, term: torch.Tensor, memory: torch.Tensor) -> torch.Tensor:
    """Gradients are given: losses are linear."""
    w = shared(*[0.0] * len(new))
    losses = {"label": w @ new, "mmd": w @ term, "memory": w @ memory}
    (found,) = gradients_of(Combination(), losses, [w])
    assert found is not None
    return found


def test_the_projection_by_hand() -> None:
    """g = (1, 1), m = (-2, 0): g keeps (0, 1); the memory itself is not added."""
    found = found_for(torch.tensor([1.0, 1.0]), torch.zeros(2), torch.tensor([-2.0, 0.0]))
    assert found.tolist() == [0.0, 1.0]


def test_after_it_no_product_with_the_memory_s_gradient_is_negative() -> None:
    torch.manual_seed(0)
    conflicts = 0
    for _ in range(50):
        new, term, memory = torch.randn(3, 8)
        conflicts += int((new + term) @ memory < 0)
        assert found_for(new, term, memory) @ memory >= -1e-5
    assert conflicts > 10


def test_terms_are_projected_with_the_labels() -> None:
    found = found_for(torch.zeros(2), torch.tensor([3.0, 1.0]), torch.tensor([-1.0, 0.0]))
    assert torch.allclose(found, torch.tensor([0.0, 1.0]))


def test_without_a_conflict_the_memory_changes_nothing() -> None:
    found = found_for(torch.tensor([1.0, 2.0]), torch.tensor([0.1, 0.2]), torch.tensor([5.0, 0.0]))
    assert torch.equal(found, torch.tensor([1.0, 2.0]) + torch.tensor([0.1, 0.2]))


def test_a_memory_without_gradient_changes_nothing() -> None:
    found = found_for(torch.tensor([1.0, 2.0]), torch.zeros(2), torch.zeros(2))
    assert found.tolist() == [1.0, 2.0]


def test_steps_hold_the_memory_s_loss_where_the_sum_of_new_losses_would_raise_it() -> None:
    def memory_after(constrained: bool) -> float:
        model = TwoHeads()
        torch.manual_seed(1)
        x = torch.randn(32, 6)
        old, new = model(x)[0].detach(), model(x)[0].detach() + torch.randn(32, 1)
        parameters = list(model.parameters())
        for _ in range(30):
            a, _b = model(x)
            losses = {"label": ((a - new) ** 2).mean()}
            if constrained:
                losses["memory"] = ((a - old) ** 2).mean()
            gradients_of(Combination(), losses, parameters)
            with torch.no_grad():
                for one in parameters:
                    if one.grad is not None:
                        one -= 0.1 * one.grad
        return ((model(x)[0] - old) ** 2).mean().item()

    assert memory_after(constrained=True) < 0.2 * memory_after(constrained=False)
