"""A few named numbers that learn beside the model, each by an own Adam.

Adam: Kingma and Ba, ICLR 2015. Its step does not depend on the scale of the losses.

>>> import torch
>>> numbers = LearnedNumbers(initial=1.0, learning_rate=0.5)
>>> numbers.begin(["a", "b"])
{'a': 1.0, 'b': 1.0}
>>> numbers.step(torch.tensor([3.0, -0.1])).tolist()
[0.5, 1.5]
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import torch


class LearnedNumbers:
    """Named numbers on the CPU; the names are given by the first step."""

    def __init__(self, *, initial: float, learning_rate: float) -> None:
        self._initial = initial
        self._rate = learning_rate
        self._names: list[str] = []
        self._tensor = torch.zeros(0)
        self._adam: torch.optim.Adam | None = None

    @property
    def values(self) -> dict[str, float]:
        """The numbers by name."""
        return dict(zip(self._names, self._tensor.tolist(), strict=True))

    def begin(self, names: list[str]) -> dict[str, float]:
        """The numbers, at their initial value in the first step.

        Raises
        ------
        ValueError
            The names differ from those of the first step.
        """
        if not self._names:
            self._create(names)
        if names != self._names:
            raise ValueError(f"losses {names} where the steps before had {self._names}")
        return self.values

    def step(self, gradient: torch.Tensor) -> torch.Tensor:
        """One step of Adam against `gradient` (n,); the numbers after it. Nothing moves where the
        gradient is not finite: the engine reports a loss that diverged."""
        if self._adam is not None and bool(torch.isfinite(gradient).all()):
            self._tensor.grad = gradient.to(self._tensor)
            self._adam.step()
        return self._tensor.clone()

    def replace(self, values: torch.Tensor) -> None:
        """Put other values in place; Adam's moments stay."""
        self._tensor.copy_(values)

    def state_dict(self) -> dict[str, Any]:
        """A snapshot of numbers, names and moments."""
        adam = deepcopy(self._adam.state_dict()) if self._adam is not None else None
        return {"names": list(self._names), "values": self._tensor.clone(), "adam": adam}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state` was taken."""
        if state["adam"] is not None:
            self._create(state["names"])
            self._tensor.copy_(state["values"])
            self._adam.load_state_dict(state["adam"])  # type: ignore[union-attr]

    def _create(self, names: list[str]) -> None:
        self._names = list(names)
        self._tensor = torch.full((len(names),), self._initial)
        self._adam = torch.optim.Adam([self._tensor], lr=self._rate)
