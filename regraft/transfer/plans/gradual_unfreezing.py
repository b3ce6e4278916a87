"""Gradual unfreezing: the head first, then the last blocks, then more of them.

Source: Howard and Ruder, "Universal Language Model Fine-tuning", ACL 2018, section 3.3. Stage i
trains the last depths[i] blocks and the head, at rate_decay_per_stage ** i of the rates and, with
progressive resizing (Howard, fast.ai 2018; Touvron et al., NeurIPS 2019), on images of side
image_sizes[i].

>>> [sorted(stage.trainable) for stage in stages(8, depths=[2, 4], epochs=[6, 4])]
[[6, 7], [4, 5, 6, 7]]
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from regraft.errors import UserError
from regraft.transfer.stage import Stage, last_blocks


def stages(
    n_blocks: int,
    *,
    depths: list[int],
    epochs: list[int],
    rate_decay_per_stage: float = 0.5,
    image_sizes: Sequence[int] = (),
) -> list[Stage]:
    """One stage per depth.

    Raises
    ------
    UserError
        The lists differ in length, or the depths do not rise from 1 to the number of blocks.
    """
    rising = all(a < b for a, b in itertools.pairwise(depths))
    if len(depths) != len(epochs) or not rising or depths[0] < 1:
        raise UserError(
            "the plan's depths and epochs do not fit together",
            where="finetune.plan",
            got=f"depths={depths}, epochs={epochs}",
            expected="two lists of one length, depths rising from at least 1",
        )
    if image_sizes and len(image_sizes) != len(depths):
        raise UserError(
            "the plan's image sizes and depths do not fit together",
            where="finetune.plan",
            got=f"image_sizes={list(image_sizes)}, depths={depths}",
            expected="one image size per stage, or none",
        )
    return [
        Stage(
            name=f"last {min(depth, n_blocks)} blocks",
            trainable=last_blocks(depth, n_blocks),
            epochs=duration,
            rate_factor=rate_decay_per_stage**position,
            image_size=size,
        )
        for position, (depth, duration, size) in enumerate(
            zip(depths, epochs, image_sizes or [0] * len(depths), strict=True)
        )
    ]
