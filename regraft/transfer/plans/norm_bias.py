"""Normalisation and biases only: a tenth of a percent of the parameters moves.

Sources: Frankle, Schwab and Morcos, "Training BatchNorm and Only BatchNorm", ICLR 2021
(convolutions); Ben-Zaken, Goldberg and Ravfogel, "BitFit", ACL 2022 (transformers, biases). Each
channel is scaled and shifted, no filter changes: with few labels there is little to overfit with,
and a new domain often differs in just these statistics. Forgetting is bounded for the same reason.

>>> [(len(stage.trainable), stage.parameters) for stage in stages(8, epochs=5)]
[(8, 'norm_bias')]
"""

from __future__ import annotations

from regraft.transfer.stage import Stage, last_blocks


def stages(n_blocks: int, *, epochs: int) -> list[Stage]:
    """One stage in which the normalisation layers and biases of every block move."""
    return [
        Stage(
            "normalisation and biases",
            last_blocks(n_blocks, n_blocks),
            epochs,
            parameters="norm_bias",
        )
    ]
