"""What a plan decides: the stages of fine-tuning."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from regraft.errors import UserError

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


def last_blocks(count: int, n_blocks: int) -> frozenset[int]:
    """Indices of the last `count` of `n_blocks` blocks; a count beyond means all of them."""
    return frozenset(range(max(n_blocks - count, 0), n_blocks))


def resized(stage: Stage, image_sizes: Sequence[int]) -> list[Stage]:
    """The stage once per image size (progressive resizing), or as it is without sizes.

    Raises
    ------
    UserError
        The sizes do not rise.
    """
    if not image_sizes:
        return [stage]
    if any(a >= b for a, b in itertools.pairwise(image_sizes)):
        raise UserError(
            "the plan's image sizes do not rise",
            where="finetune.plan.image_sizes",
            got=str(list(image_sizes)),
            expected="small to large, for example [96, 160, 224]",
        )
    return [
        replace(stage, name=f"{stage.name} at {size} px", image_size=size) for size in image_sizes
    ]
