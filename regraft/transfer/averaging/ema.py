"""EMA: an exponential moving average of the weights over the steps of a stage.

Source: Polyak and Juditsky, "Acceleration of Stochastic Approximation by Averaging", SIAM J.
Control and Optimization 1992; with exponential decay as in Tarvainen and Valpola, "Mean teachers
are better role models", NeurIPS 2017, section 2. After step t (from 0):
average <- d average + (1 - d) weights, d = min(decay, (1 + t) / (10 + t)), the warm-up of
TensorFlow's ExponentialMovingAverage: a short stage is not left at its start.

>>> average = Average(decay=0.9)
>>> average.begin({"w": torch.tensor(0.0)})
>>> average.update({"w": torch.tensor(1.0)})
>>> round(average.result({"w": torch.tensor(1.0)})["w"].item(), 3)
0.9
"""

from __future__ import annotations

from typing import Any

import torch

from regraft.transfer.averaging.interpolation import between, copied, like


class Average:
    """Every stage begins a new average at its own start."""

    def __init__(self, *, decay: float) -> None:
        self._decay = decay
        self._steps = 0
        self._average: dict[str, torch.Tensor] = {}

    def begin(self, state: dict[str, torch.Tensor]) -> None:
        self._steps = 0
        self._average = copied(state)

    def update(self, state: dict[str, torch.Tensor]) -> None:
        decay = min(self._decay, (1 + self._steps) / (10 + self._steps))
        self._average = between(self._average, state, 1 - decay)
        self._steps += 1

    def end_of_epoch(self, state: dict[str, torch.Tensor]) -> None:
        """Epochs do not matter here."""

    def result(self, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return like(self._average, state)

    def state_dict(self) -> dict[str, Any]:
        return {"steps": self._steps, "average": copied(self._average)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._steps = state["steps"]
        self._average = copied(state["average"])
