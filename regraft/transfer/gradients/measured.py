"""What combinations measure of a step: losses and gradients, averaged over processes."""

from __future__ import annotations

from functools import reduce

import torch
from torch import distributed
from torch.nn import Parameter


def main_names(losses: dict[str, torch.Tensor]) -> list[str]:
    """Names of the tasks' own losses, without extra terms and memory."""
    return [name for name in losses if name == "label" or name.startswith("label:")]


def weighted_sum(losses: dict[str, torch.Tensor], weights: dict[str, float]) -> torch.Tensor:
    """Sum of the losses; one without a weight, or with weight 1, is added as it is."""
    terms = [
        loss if weights.get(name, 1.0) == 1.0 else weights[name] * loss
        for name, loss in losses.items()
    ]
    return reduce(torch.add, terms)


def gradient(loss: torch.Tensor, parameters: list[Parameter]) -> torch.Tensor:
    """Gradient of a loss as one float32 vector, 0 where it does not reach; keeps the graph."""
    moving = [one for one in parameters if one.requires_grad]
    found = (
        torch.autograd.grad(loss, moving, retain_graph=True, allow_unused=True)
        if loss.requires_grad and moving
        else [None] * len(moving)
    )
    parts = [
        (torch.zeros_like(one) if part is None else part).flatten().float()
        for one, part in zip(moving, found, strict=True)
    ]
    return over_processes(torch.cat(parts) if parts else torch.zeros(1))


def gram(losses: list[torch.Tensor], parameters: list[Parameter]) -> torch.Tensor:
    """Inner products (losses, losses) of the gradients, float64 on the CPU."""
    rows = torch.stack([gradient(loss, parameters) for loss in losses]).double()
    return (rows @ rows.T).cpu()


def over_processes(value: torch.Tensor) -> torch.Tensor:
    """The mean over all processes, where there are several."""
    if not distributed.is_available() or not distributed.is_initialized():
        return value
    value = value.detach().clone()
    distributed.all_reduce(value)
    return value / distributed.get_world_size()
