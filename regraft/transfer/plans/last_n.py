"""Last n blocks: what is general stays as it is, what is specific to the old task moves.

Source: Yosinski et al., "How transferable are features in deep neural networks?", NeurIPS 2014:
the first layers are general, the last ones specific. The blocks before can be cached. With
`image_sizes` the stage is run once per size, small to large (progressive resizing: Howard, fast.ai
2018; Touvron et al., "Fixing the train-test resolution discrepancy", NeurIPS 2019).

>>> [sorted(stage.trainable) for stage in stages(8, blocks=2, epochs=5)]
[[6, 7]]
"""

from __future__ import annotations

from collections.abc import Sequence

from regraft.transfer.stage import Stage, last_blocks, resized


def stages(
    n_blocks: int, *, blocks: int, epochs: int, image_sizes: Sequence[int] = ()
) -> list[Stage]:
    """One stage for the last `blocks` blocks, for each image size."""
    trainable = last_blocks(blocks, n_blocks)
    return resized(Stage(f"last {len(trainable)} blocks", trainable, epochs), image_sizes)
