"""How far the weights of an encoder are from those that fine-tuning begins with."""

from __future__ import annotations

import torch
from torch import nn


def flat_copy(encoder: nn.Module) -> torch.Tensor:
    """All parameters of the encoder in one vector (p,), apart from the graph."""
    return torch.cat([parameter.detach().flatten() for parameter in encoder.parameters()])


def half_squared_distance(
    encoder: nn.Module, start: torch.Tensor, importance: torch.Tensor | None = None
) -> torch.Tensor:
    """1/2 sum_i importance_i (w_i - start_i)^2 over all parameters; importance 1 if None."""
    parameters = list(encoder.parameters())
    sizes = [parameter.numel() for parameter in parameters]
    weights = importance.split(sizes) if importance is not None else [None] * len(sizes)
    total = start.new_zeros(())
    for parameter, origin, weight in zip(parameters, start.split(sizes), weights, strict=True):
        squares = (parameter.flatten() - origin).square()
        total = total + (squares if weight is None else weight * squares).sum()
    return total / 2
