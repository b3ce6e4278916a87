"""Mixup: train on convex combinations of pairs.

Source: Zhang et al., "mixup", ICLR 2018: x = l x_i + (1 - l) x_j, q = l q_i + (1 - l) q_j with
l ~ Beta(a, a). Behind a frozen trunk the mixed x is a hidden activation: manifold mixup, Verma et
al., ICML 2019. Strength 0 returns its input.
"""

from __future__ import annotations

import numpy as np
import torch


def mix(
    inputs: list[torch.Tensor], targets: torch.Tensor, *, alpha: float, rng: np.random.Generator
) -> tuple[list[torch.Tensor], torch.Tensor]:
    """Mix each tensor of a batch (first axis n) and its targets (n, classes) with one partner."""
    if alpha == 0:
        return inputs, targets
    share = float(rng.beta(alpha, alpha))
    partner = torch.from_numpy(rng.permutation(len(targets)))
    mixed = [share * x + (1 - share) * x[partner] for x in inputs]
    return mixed, share * targets + (1 - share) * targets[partner]
