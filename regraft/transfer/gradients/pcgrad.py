"""PCGrad: where two tasks pull against each other, each gives up what it pulls against the other.

Source: Yu et al., "Gradient Surgery for Multi-Task Learning", NeurIPS 2020, algorithm 1. For each
task i and every other task j in random order: if g_i . g_j < 0,
g_i <- g_i - (g_i . g_j) / |g_j|^2 g_j, with the g_j of the loss; the step is the sum of the g_i.
Extra terms and memory are added unprojected. Without a conflict it is the sum, bit for bit.

Each projected gradient is sum_k c_ik g_k, and the c_ik follow from the inner products alone, so
one backward pass through sum_k (sum_i c_ik) L_k gives the step. With conflicting gradients
(1, 0) and (-1, 1):

>>> import torch
>>> w = torch.nn.Parameter(torch.zeros(2))
>>> losses = {"label:a": w[0], "label:b": w[1] - w[0]}
>>> Combination(seed=0).backward(losses, [w], torch.Tensor.backward)
>>> w.grad.tolist()
[0.5, 1.5]
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.nn import Parameter

from regraft.transfer.gradients.measured import gram, main_names, weighted_sum


class Combination:
    """Projects the gradients of the main losses; the order is drawn by an own generator."""

    needs_memory = False

    def __init__(self, *, seed: int) -> None:
        self._generator = torch.Generator().manual_seed(seed)

    def backward(
        self,
        losses: dict[str, torch.Tensor],
        parameters: list[Parameter],
        backward: Callable[[torch.Tensor], None],
    ) -> None:
        names = main_names(losses)
        weights: dict[str, float] = {}
        if len(names) > 1:
            products = gram([losses[name] for name in names], parameters)
            shares = projected_shares(products, self._generator)
            weights = dict(zip(names, shares.sum(0).tolist(), strict=True))
        backward(weighted_sum(losses, weights))

    def state_dict(self) -> dict[str, Any]:
        return {"generator": self._generator.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._generator.set_state(state["generator"])


def projected_shares(products: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """(tasks, tasks): row i says how the projected gradient of task i is made of all gradients.

    `products` (tasks, tasks) are the inner products of the gradients. An entry that is not finite
    changes nothing, so that a loss that diverged is reported as such by the engine.
    """
    n = len(products)
    shares = torch.eye(n, dtype=products.dtype)
    for i in range(n):
        for j in torch.randperm(n, generator=generator).tolist():
            conflict = shares[i] @ products[:, j]
            if i != j and conflict < 0 and products[j, j] > 0:
                shares[i, j] -= conflict / products[j, j]
    return shares
