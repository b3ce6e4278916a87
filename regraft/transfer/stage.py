"""What a plan decides: the stages of fine-tuning."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Stage:
    """One phase of fine-tuning.

    Attributes
    ----------
    trainable : indices of the blocks that move; the head always does.
    epochs : longest duration.
    rate_factor : multiplies every learning rate of the stage.
    """

    name: str
    trainable: frozenset[int]
    epochs: int
    rate_factor: float = 1.0
