"""CutMix: put a box of one picture into another, and share the label by area.

Source: Yun et al., "CutMix", ICCV 2019, equations 1 and 2: x = M * x_i + (1 - M) * x_j,
q = l q_i + (1 - l) q_j, l ~ Beta(a, a), M a box of zeros that covers 1 - l of the picture around a
random centre; what the border cuts off corrects l. Behind a frozen trunk the box lies in its
activation. What has no plane (pooled taps, tokens) is mixed in the same shares, as in mixup.
Strength 0 returns its input.

>>> random_box(8, 8, 0.75, np.random.default_rng(0))
(4, 8, 3, 7)
"""

from __future__ import annotations

import numpy as np
import torch

from regraft.transfer.objectives.mixup import mix


def cut_and_mix(
    inputs: list[torch.Tensor], targets: torch.Tensor, *, alpha: float, rng: np.random.Generator
) -> tuple[list[torch.Tensor], torch.Tensor]:
    """Mix each tensor of a batch (first axis n) and its targets (n, classes) with one partner."""
    if alpha == 0:
        return inputs, targets
    if inputs[0].ndim != 4:
        return mix(inputs, targets, alpha=alpha, rng=rng)
    height, width = inputs[0].shape[2:]
    top, bottom, left, right = random_box(height, width, float(rng.beta(alpha, alpha)), rng)
    kept = 1 - (bottom - top) * (right - left) / (height * width)
    partner = torch.from_numpy(rng.permutation(len(targets)))

    def mixed(x: torch.Tensor) -> torch.Tensor:
        if x.ndim != 4:
            return kept * x + (1 - kept) * x[partner]
        x = x.clone()
        x[:, :, top:bottom, left:right] = x[partner, :, top:bottom, left:right]
        return x

    return [mixed(x) for x in inputs], kept * targets + (1 - kept) * targets[partner]


def random_box(
    height: int, width: int, kept: float, rng: np.random.Generator
) -> tuple[int, int, int, int]:
    """Top, bottom, left, right of a box of the area 1 - kept, cut off at the border."""
    side = (1 - kept) ** 0.5
    y, x = int(rng.integers(height)), int(rng.integers(width))
    half_height, half_width = int(height * side) // 2, int(width * side) // 2
    return (
        max(y - half_height, 0),
        min(y + half_height, height),
        max(x - half_width, 0),
        min(x + half_width, width),
    )
