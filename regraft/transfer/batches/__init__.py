"""Batches: which examples an epoch shows, and what is put beside or behind them.

Samplers are found by `kind`; `replay` (old examples) and `background` (exchanged backgrounds) go
with any of them.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, Protocol

import numpy as np

KINDS = ("shuffled", "class_balanced", "curriculum")


class Sampler(Protocol):
    """The order of one epoch."""

    def order(self, epoch: int, rng: np.random.Generator) -> np.ndarray:
        """Indices of the examples of this epoch (0-based), at most as many as there are; a
        function of the epoch and `rng` alone, so that a resumed run draws what it would have."""


def build_sampler(
    options: dict[str, Any],
    *,
    labels: np.ndarray,
    n_classes: int,
    n_epochs: int,
    difficulty: np.ndarray | None = None,
) -> Sampler:
    """The sampler of a kind for the training examples of one stage.

    Parameters
    ----------
    labels : (n,) class indices.
    n_epochs : of the stage.
    difficulty : (n,) the probe's loss on each example while it was held out.
    """
    options = dict(options)
    kind = options.pop("kind")
    if kind not in KINDS:
        raise KeyError(f"no sampler of kind {kind!r}; there are {', '.join(KINDS)}")
    found: Sampler = import_module(f"{__name__}.{kind}").Sampler(
        labels=labels, n_classes=n_classes, difficulty=difficulty, n_epochs=n_epochs, **options
    )
    return found
