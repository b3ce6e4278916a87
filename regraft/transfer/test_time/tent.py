"""TENT: scale and offset of batch norm follow the gradient of the answers' entropy.

Source: Wang et al., "Tent: Fully Test-time Adaptation by Entropy Minimization", ICLR 2021, section
3: statistics of the batch, and one step per batch on L = mean H(p_i) over the affine parameters of
the normalisation layers alone. The statistics are those of `batch_statistics`, so that the answer
to one input does not hang on which others share its batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from regraft.transfer.objectives.entropy import information

LEARNING_RATE = 1e-3


def adapt(model: Any, batches: Sequence[torch.Tensor], *, rate: float = LEARNING_RATE) -> Any:
    """Change batch norm in place, one step per batch, and return the model."""
    from regraft.transfer.test_time import batch_statistics, norms

    batch_statistics.adapt(model, batches)
    model.requires_grad_(False)
    moving = [p for layer in norms(model) for p in layer.parameters()]
    for parameter in moving:
        parameter.requires_grad_(True)
    optimiser = torch.optim.Adam(moving, lr=rate)
    for batch in batches:
        loss = information(model(batch), diversity=0.0)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return model.requires_grad_(False)
