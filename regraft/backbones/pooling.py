"""From the map of a block to a vector.

The mean of a map and, where it is narrow enough, the covariance of its channels. Lower blocks keep
texture that an ImageNet head threw away, and covariances say which textures occur together
(bilinear pooling: Lin, RoyChowdhury and Maji, ICCV 2015). Signed square root and unit length make
parts of different blocks comparable (Perronnin et al., ECCV 2010).
"""

from __future__ import annotations

import torch
from torch import nn

WIDEST_COVARIANCE = 128
"""Channels up to which covariances are used: 128 give 8,256 numbers."""


def mean_and_covariance(positions: torch.Tensor) -> torch.Tensor:
    """(n, positions, c) to their mean and, of narrow maps, the upper triangle of their covariance:
    (n, c) or (n, c + c(c+1)/2)."""
    x = positions.float()
    mean = x.mean(1)
    channels = x.shape[2]
    if channels > WIDEST_COVARIANCE:
        return mean
    centred = x - mean.unsqueeze(1)
    covariance = centred.transpose(1, 2) @ centred / x.shape[1]
    rows, columns = torch.triu_indices(channels, channels, device=x.device)
    return torch.cat([mean, covariance[:, rows, columns]], 1)


def power_normalise(x: torch.Tensor) -> torch.Tensor:
    """Signed square root, then unit length, of (n, d). The square root is x / sqrt(|x| + 0.1):
    the same above the offset, but with a slope at 0 that training can bear."""
    return nn.functional.normalize(x / torch.sqrt(x.abs() + 0.1), dim=1)
