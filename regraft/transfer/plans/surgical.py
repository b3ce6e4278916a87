"""Surgical fine-tuning: only the blocks that the new data pull at hardest move.

Source: Lee, Chen, Tajwar, Kumar, Yao, Liang and Finn, "Surgical Fine-Tuning Improves Adaptation to
Distribution Shifts", ICLR 2023, section 4 (relative gradient norm, RGN). Which part of a network a
shift concerns depends on the shift: another camera the first blocks, another grouping of the
classes the last. For block b with parameters theta_b and the loss L of the new labelled data

    RGN_b = |grad_b L| / |theta_b|        (both norms over all parameters of the block)

and the blocks with the largest RGN move, the others stay bit for bit.

>>> [sorted(stage.trainable) for stage in stages_from_gradients(4, [3, 0.1, 0.2, 1], blocks=2,
...                                                             epochs=5)]
[[0, 3]]
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from regraft.transfer.stage import Stage

if TYPE_CHECKING:
    from regraft.backbones.blockwise import BlockwiseEncoder


def relative_gradient_norms(encoder: BlockwiseEncoder) -> list[float]:
    """RGN of every block from the `.grad` that the last backward pass left; 0 without one."""
    return [_relative_norm(encoder, block.index) for block in encoder.blocks]


def _relative_norm(encoder: BlockwiseEncoder, index: int) -> float:
    parameters = encoder.parameters_of(index)
    pull = sum(float(p.grad.double().square().sum()) for p in parameters if p.grad is not None)
    size = sum(float(p.detach().double().square().sum()) for p in parameters)
    return float(np.sqrt(pull / size)) if size else 0.0


def stages_from_gradients(
    n_blocks: int, norms: Sequence[float], *, blocks: int, epochs: int
) -> list[Stage]:
    """One stage for the `blocks` blocks with the largest relative gradient norm.

    Raises
    ------
    ValueError
        `norms` has not one finite number per block.
    """
    if len(norms) != n_blocks or not np.isfinite(norms).all():
        raise ValueError(f"expected {n_blocks} finite gradient norms, got {list(norms)}")
    chosen = np.argsort(-np.asarray(norms), kind="stable")[:blocks]
    name = f"blocks {', '.join(str(index) for index in sorted(chosen))}"
    return [Stage(name, frozenset(int(index) for index in chosen), epochs)]
