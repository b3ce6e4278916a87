"""Two tasks on a shared vector: quadratics whose minima can be put where they conflict."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import Parameter

from regraft.transfer.gradients import Combination


def shared(*values: float) -> Parameter:
    return Parameter(torch.tensor(values))


def quadratic(w: torch.Tensor, *minimum: float) -> torch.Tensor:
    """Its gradient is w - minimum."""
    return 0.5 * ((w - torch.tensor(minimum)) ** 2).sum()


def gradients_of(
    combination: Combination, losses: dict[str, torch.Tensor], parameters: list[Parameter]
) -> list[torch.Tensor | None]:
    """What `backward` leaves, on a fresh start."""
    for one in parameters:
        one.grad = None
    combination.backward(losses, parameters, torch.Tensor.backward)
    return [None if one.grad is None else one.grad.clone() for one in parameters]


class TwoHeads(nn.Module):
    """An encoder of two layers and a head for each of two tasks."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.first, self.last = nn.Linear(6, 5), nn.Linear(5, 4)
        self.a, self.b = nn.Linear(4, 1), nn.Linear(4, 1)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        hidden = torch.tanh(self.last(torch.tanh(self.first(x))))
        return self.a(hidden), self.b(hidden)
