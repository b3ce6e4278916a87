"""Full fine-tuning ("soft transfer"): every block moves, from its pre-trained weights.

Source: Yosinski et al., "How transferable are features in deep neural networks?", NeurIPS 2014.
The head has been fitted by the probe before, so that its random errors do not distort the features
(Kumar et al., ICLR 2022). With `image_sizes` the stage is run once per size, small to large
(progressive resizing: Howard, fast.ai 2018; Touvron et al., "Fixing the train-test resolution
discrepancy", NeurIPS 2019): most steps are taken on small, cheap images.

>>> [(len(stage.trainable), stage.image_size) for stage in stages(8, epochs=5)]
[(8, 0)]
>>> [stage.image_size for stage in stages(8, epochs=5, image_sizes=[96, 160])]
[96, 160]
"""

from __future__ import annotations

from collections.abc import Sequence

from regraft.transfer.stage import Stage, last_blocks, resized


def stages(n_blocks: int, *, epochs: int, image_sizes: Sequence[int] = ()) -> list[Stage]:
    """One stage with everything trainable, for each image size."""
    return resized(Stage("all blocks", last_blocks(n_blocks, n_blocks), epochs), image_sizes)
