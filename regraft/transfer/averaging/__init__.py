"""Averaging: which weights come out of a stage. Found by `kind`, the name of the file.

Averages are applied one after the other: `for one in averages: state = one.result(state)`.
All work on state dicts by name, entry by entry. An entry that never moved (a frozen block) comes
out as it is, bit for bit; integers (counters) are copied. Running statistics of batch norm are
averaged like weights: exact where they are frozen, an approximation where they are measured.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, Protocol

import torch

KINDS = ("ema", "wise_ft", "soup")


class Average(Protocol):
    """What every kind offers. Nothing that is passed in is changed or kept."""

    def begin(self, state: dict[str, torch.Tensor]) -> None:
        """At the start of every stage, after adapters were put in."""

    def update(self, state: dict[str, torch.Tensor]) -> None:
        """After every step of the optimiser."""

    def end_of_epoch(self, state: dict[str, torch.Tensor]) -> None:
        """After the last step of an epoch, before validation."""

    def result(self, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The weights to validate and to hand on; names and types of `state`."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


def build_averages(options: list[dict[str, Any]]) -> list[Average]:
    """The averages in the order in which they are applied."""
    return [_average(one) for one in options]


def _average(options: dict[str, Any]) -> Average:
    options = dict(options)
    kind = options.pop("kind")
    if kind not in KINDS:
        raise KeyError(f"no average of kind {kind!r}; there are {', '.join(KINDS)}")
    found: Average = import_module(f"{__name__}.{kind}").Average(**options)
    return found
