"""Gradual unfreezing: the head first, then the last blocks, then more of them.

Source: Howard and Ruder, "Universal Language Model Fine-tuning", ACL 2018, section 3.3. Stage i
trains the last depths[i] blocks and the head, at rate_decay_per_stage ** i of the rates.

>>> [sorted(stage.trainable) for stage in stages(8, depths=[2, 4], epochs=[6, 4])]
[[6, 7], [4, 5, 6, 7]]
"""

from __future__ import annotations

import itertools

from regraft.errors import UserError
from regraft.transfer.stage import Stage


def stages(
    n_blocks: int, *, depths: list[int], epochs: list[int], rate_decay_per_stage: float = 0.5
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
    return [
        Stage(
            name=f"last {min(depth, n_blocks)} blocks",
            trainable=frozenset(range(max(n_blocks - depth, 0), n_blocks)),
            epochs=duration,
            rate_factor=rate_decay_per_stage**position,
        )
        for position, (depth, duration) in enumerate(zip(depths, epochs, strict=True))
    ]
