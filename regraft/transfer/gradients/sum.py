"""The gradient of the sum of all losses, each already multiplied by its strength.

>>> import torch
>>> w = torch.nn.Parameter(torch.tensor(3.0))
>>> Combination().backward({"label": w**2, "l2_sp": w}, [w], torch.Tensor.backward)
>>> w.grad.item()
7.0
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.nn import Parameter

from regraft.transfer.gradients.measured import weighted_sum


class Combination:
    """One backward pass through the sum; nothing to remember."""

    needs_memory = False

    def backward(
        self,
        losses: dict[str, torch.Tensor],
        parameters: list[Parameter],
        backward: Callable[[torch.Tensor], None],
    ) -> None:
        backward(weighted_sum(losses, {}))

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """There is nothing to load."""
