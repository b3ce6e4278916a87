"""Which classes a head can tell: those of a task that has just begun are rows of zeros in it.

What holds a model to its start must leave them out (`training.sequence` grows a head by them): the
start has no answer for a class that it has never seen.

>>> known_classes(torch.tensor([[1.0, 2.0], [0.0, 0.0]])).tolist()
[True, False]
"""

from __future__ import annotations

import torch


def known_classes(weight: torch.Tensor | None) -> torch.Tensor | None:
    """Which rows of a head's weight (classes, dim) are not zero, (classes,); None where that is
    all or none of them, or the head has no weight."""
    if weight is None:
        return None
    found: torch.Tensor = (weight.detach() != 0).flatten(1).any(1)
    return found if found.any() and not found.all() else None
