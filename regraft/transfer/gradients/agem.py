"""A-GEM: a step on new examples may not raise the loss on remembered old ones.

Source: Chaudhry et al., "Efficient Lifelong Learning with A-GEM", ICLR 2019, equation 11. With g
the gradient of everything but "memory" and m that of "memory": if g . m < 0,
g <- g - (g . m) / (m . m) m. The memory only constrains: its own gradient is not added.

The projected gradient is that of L - (g . m) / (m . m) L_memory, one backward pass.

>>> import torch
>>> w = torch.nn.Parameter(torch.zeros(2))
>>> losses = {"label": w[0] + w[1], "memory": -w[0]}
>>> Combination().backward(losses, [w], torch.Tensor.backward)
>>> w.grad.tolist()
[0.0, 1.0]
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.nn import Parameter

from regraft.transfer.gradients.measured import gram, weighted_sum


class Combination:
    """Projects onto the half-space in which the memory's loss does not rise."""

    needs_memory = True

    def backward(
        self,
        losses: dict[str, torch.Tensor],
        parameters: list[Parameter],
        backward: Callable[[torch.Tensor], None],
    ) -> None:
        new = {name: loss for name, loss in losses.items() if name != "memory"}
        total = weighted_sum(new, {})
        if "memory" in losses:
            products = gram([total, losses["memory"]], parameters)
            conflict, norm = products[0, 1].item(), products[1, 1].item()
            if conflict < 0 < norm:
                total = total - (conflict / norm) * losses["memory"]
        backward(total)

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """There is nothing to load."""
