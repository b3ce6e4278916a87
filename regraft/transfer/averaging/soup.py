"""Soup: the mean of the weights at the end of each epoch of a stage.

Source: Wortsman et al., "Model soups", ICML 2022, section 2 (uniform soup), over the epochs of
one run as in Izmailov et al., "Averaging Weights Leads to Wider Optima", UAI 2018.

>>> average = Average()
>>> average.begin({"w": torch.tensor(0.0)})
>>> for value in (1.0, 2.0, 6.0):
...     average.end_of_epoch({"w": torch.tensor(value)})
>>> average.result({"w": torch.tensor(6.0)})["w"].item()
3.0
"""

from __future__ import annotations

from typing import Any

import torch

from regraft.transfer.averaging.interpolation import between, copied, like


class Average:
    """Every stage cooks a new soup; before its first epoch ends there is none."""

    def __init__(self) -> None:
        self._epochs = 0
        self._mean: dict[str, torch.Tensor] = {}

    def begin(self, state: dict[str, torch.Tensor]) -> None:
        self._epochs = 0
        self._mean = copied(state)

    def update(self, state: dict[str, torch.Tensor]) -> None:
        """Steps do not matter here."""

    def end_of_epoch(self, state: dict[str, torch.Tensor]) -> None:
        self._epochs += 1
        self._mean = between(self._mean, state, 1 / self._epochs)

    def result(self, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return like(self._mean if self._epochs else state, state)

    def state_dict(self) -> dict[str, Any]:
        return {"epochs": self._epochs, "mean": copied(self._mean)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._epochs = state["epochs"]
        self._mean = copied(state["mean"])
