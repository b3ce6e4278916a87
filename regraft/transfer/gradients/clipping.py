"""Clipping: no gradient larger than a bound.

By value, each entry to [-value, value]; then by norm, g <- g min(1, norm / |g|) with |g| over all
parameters (Pascanu, Mikolov and Bengio, "On the difficulty of training recurrent neural
networks", ICML 2013, algorithm 1).

Called once per optimiser step, on the accumulated gradient, after loss scaling was undone. Under
several processes the gradients are equal everywhere after the backward pass, and so is the norm.

>>> import torch
>>> w = torch.nn.Parameter(torch.zeros(2))
>>> w.grad = torch.tensor([3.0, 4.0])
>>> clip([w], norm=1.0).item()
5.0
>>> [round(x, 3) for x in w.grad.tolist()]
[0.6, 0.8]
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch.nn import Parameter
from torch.nn.utils import clip_grad_norm_, clip_grad_value_


def clip(parameters: Iterable[Parameter], *, norm: float = 0.0, value: float = 0.0) -> torch.Tensor:
    """Clip the gradients in place, 0 is off; the norm (a scalar) after the clipping by value and
    before the one by norm. Parameters without a gradient are passed over."""
    moving = [one for one in parameters if one.grad is not None]
    if value and moving:
        clip_grad_value_(moving, value)
    return clip_grad_norm_(moving, norm or float("inf"))
