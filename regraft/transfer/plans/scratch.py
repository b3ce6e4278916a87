"""From scratch ("hard transfer"): the architecture is taken over, the weights are not.

Source: He, Girshick and Dollar, "Rethinking ImageNet Pre-training", ICCV 2019: with enough labels
and a long schedule, random weights catch up. With few labels they do not, which makes this plan
the baseline that shows what pre-training is worth. Every weight is drawn by the architecture's own
initialisation, and batch norms measure each batch: there are no statistics worth keeping.

>>> [(len(stage.trainable), stage.batch_statistics) for stage in stages(8, epochs=30)]
[(8, True)]
"""

from __future__ import annotations

from typing import Any

from regraft.transfer.stage import Stage, last_blocks


def stages(n_blocks: int, *, epochs: int) -> list[Stage]:
    """One long stage with everything trainable."""
    every = last_blocks(n_blocks, n_blocks)
    return [Stage("from scratch", every, epochs, batch_statistics=True)]


def prepare(model: Any, *, seed: int, **_: Any) -> None:
    """Draw the weights of `model.encoder` and `model.head` anew, the same ones for one seed."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model.encoder.load_state_dict(model.encoder.blank().state_dict())
        for module in model.head.modules():
            if hasattr(module, "reset_parameters"):
                module.reset_parameters()
