"""Uncertainty weighting: a task with noisy labels counts less, and the noise is learned.

Source: Kendall, Gal and Cipolla, "Multi-Task Learning Using Uncertainty", CVPR 2018, equation 10:
minimise sum_i exp(-s_i) L_i + s_i / 2 over the weights and the log variances s_i = log sigma_i^2.
At the best s_i the weight exp(-s_i) is 1 / (2 L_i). All s_i begin at 0, so the first step is the
sum. Extra terms and memory keep weight 1.

>>> import torch
>>> w = torch.nn.Parameter(torch.tensor(1.0))
>>> losses = {"label:noisy": 5 * w, "label:clean": 0.1 * w}
>>> combination = Combination(learning_rate=0.1)
>>> combination.backward(losses, [w], torch.Tensor.backward)
>>> {name: round(weight, 2) for name, weight in combination.weights.items()}
{'label:noisy': 0.9, 'label:clean': 1.11}
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch.nn import Parameter

from regraft.transfer.gradients.learned import LearnedNumbers
from regraft.transfer.gradients.measured import main_names, over_processes, weighted_sum


class Combination:
    """Weighs the main losses; a step uses the log variances that the steps before it learned."""

    needs_memory = False

    def __init__(self, *, learning_rate: float) -> None:
        self._log_variances = LearnedNumbers(initial=0.0, learning_rate=learning_rate)

    @property
    def weights(self) -> dict[str, float]:
        """Weight exp(-s) of each main loss."""
        return {name: math.exp(-s) for name, s in self._log_variances.values.items()}

    def backward(
        self,
        losses: dict[str, torch.Tensor],
        parameters: list[Parameter],
        backward: Callable[[torch.Tensor], None],
    ) -> None:
        names = main_names(losses)
        if len(names) < 2:
            backward(weighted_sum(losses, {}))
            return
        self._log_variances.begin(names)
        used = torch.tensor([self.weights[name] for name in names])
        backward(weighted_sum(losses, self.weights))
        values = over_processes(torch.stack([losses[name].detach() for name in names]))
        self._log_variances.step(0.5 - used * values.cpu().float())

    def state_dict(self) -> dict[str, Any]:
        return {"log_variances": self._log_variances.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._log_variances.load_state_dict(state["log_variances"])
