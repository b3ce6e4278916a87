"""Full fine-tuning ("soft transfer"): every block moves, from its pre-trained weights.

Source: Yosinski et al., "How transferable are features in deep neural networks?", NeurIPS 2014.
The head has been fitted by the probe before, so that its random errors do not distort the features
(Kumar et al., ICLR 2022).

>>> [len(stage.trainable) for stage in stages(8, epochs=5)]
[8]
"""

from __future__ import annotations

from regraft.transfer.stage import Stage


def stages(n_blocks: int, *, epochs: int) -> list[Stage]:
    """One stage with everything trainable."""
    return [Stage("all blocks", frozenset(range(n_blocks)), epochs)]
