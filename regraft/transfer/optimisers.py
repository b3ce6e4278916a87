"""The optimiser of a stage, with one group of parameters per block and kind of parameter."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


def parameter_groups(
    parameters: list[nn.Parameter], *, rate: float, weight_decay: float, name: str
) -> list[dict[str, Any]]:
    """Matrices with decay, biases and normalisation without; the rate is kept as `peak_rate`."""
    trainable = [parameter for parameter in parameters if parameter.requires_grad]
    split = [
        (weight_decay, [p for p in trainable if p.ndim > 1]),
        (0.0, [p for p in trainable if p.ndim <= 1]),
    ]
    return [
        {"params": members, "lr": rate, "peak_rate": rate, "weight_decay": decay, "name": name}
        for decay, members in split
        if members
    ]


def build_optimiser(kind: str, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    """AdamW (Loshchilov and Hutter, ICLR 2019) or SGD with Nesterov momentum."""
    if kind == "adamw":
        return torch.optim.AdamW(groups)
    if kind == "sgd":
        return torch.optim.SGD(groups, momentum=0.9, nesterov=True)
    raise KeyError(f"no optimiser {kind!r}; there are adamw and sgd")
