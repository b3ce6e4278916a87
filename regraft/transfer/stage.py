"""What a plan decides: the stages of fine-tuning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Parameters = Literal["all", "norm_bias", "lora"]
"""Which parameters of a trainable block move: all, normalisation and biases, or the adapters."""


@dataclass(frozen=True)
class Stage:
    """One phase of fine-tuning.

    Attributes
    ----------
    trainable : indices of the blocks that move.
    epochs : longest duration.
    rate_factor : multiplies every learning rate of the stage.
    parameters : which parameters of these blocks move.
    image_size : side of the square input in pixels; 0 is the backbone's own.
    head : whether the head moves.
    batch_statistics : batch norms of these blocks measure every batch, whatever the recipe says.
    """

    name: str
    trainable: frozenset[int]
    epochs: int
    rate_factor: float = 1.0
    parameters: Parameters = "all"
    image_size: int = 0
    head: bool = True
    batch_statistics: bool = False
