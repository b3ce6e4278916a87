"""WiSE-FT: weights between those that fine-tuning began with and the tuned ones.

Source: Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR 2022, section 3:
(1 - alpha) start + alpha tuned. The start must answer the same classes: here it is the
pre-trained encoder with its probe. Rows of the head for classes that the start does not know
(`known_classes`) are the tuned ones: half-way to nothing, they could not be named beside the old.
With adapters (LoRA), whose product is zero at the start, alpha acts on each factor.

>>> average = Average(alpha=0.25)
>>> average.begin({"w": torch.tensor(1.0)})
>>> average.result({"w": torch.tensor(3.0)})["w"].item()
1.5
"""

from __future__ import annotations

from typing import Any

import torch

from regraft.transfer.averaging.interpolation import between, copied, like
from regraft.transfer.known_classes import known_classes


class Average:
    """The start is that of the first stage; later stages begin from results and keep it."""

    def __init__(self, *, alpha: float) -> None:
        self._alpha = alpha
        self._start: dict[str, torch.Tensor] = {}

    def begin(self, state: dict[str, torch.Tensor]) -> None:
        if not self._start:
            self._start = copied(state)

    def update(self, state: dict[str, torch.Tensor]) -> None:
        """Steps do not matter here."""

    def end_of_epoch(self, state: dict[str, torch.Tensor]) -> None:
        """Epochs do not matter here."""

    def result(self, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        mixed = between(self._start, state, self._alpha)
        known = known_classes(self._start.get("head.weight"))
        if known is not None:
            for name in ("head.weight", "head.bias"):
                mixed[name][~known] = state[name].detach().to(mixed[name])[~known]
        return like(mixed, state)

    def state_dict(self) -> dict[str, Any]:
        return {"start": copied(self._start)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._start = copied(state["start"])
