"""Gradient reversal: what a classifier learns to tell, the features learn to hide.

Source: Ganin et al., "Domain-Adversarial Training of Neural Networks", JMLR 2016, sections 4.2 and
5.2.2: R(x) = x, dR/dx = -scale I; the scale grows as 2 / (1 + exp(-10 p)) - 1 with the share p of
training that is done, so that the features are spared while the classifier knows nothing.

>>> import torch
>>> x = torch.tensor(3.0, requires_grad=True)
>>> reverse(x, 0.5).backward()
>>> float(x.grad), growing_scale(0.0), round(growing_scale(1.0), 4)
(-0.5, 0.0, 0.9999)
"""

from __future__ import annotations

import math
from typing import Any

import torch


class _Reverse(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, scale: float) -> torch.Tensor:
        ctx.scale = scale
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        return -ctx.scale * gradients[0], None


def reverse(x: torch.Tensor, scale: float) -> torch.Tensor:
    """`x` itself, whose gradient comes back times -scale."""
    reversed_x: torch.Tensor = _Reverse.apply(x, scale)
    return reversed_x


def growing_scale(progress: float) -> float:
    """The scale after this share (0 to 1) of training: 0 at first, near 1 from a third on."""
    return 2 / (1 + math.exp(-10 * progress)) - 1
