"""MMD: embeddings of both domains with equal means under several Gaussian kernels.

Source: Long et al., "Learning Transferable Features with Deep Adaptation Networks", ICML 2015,
section 3; Gretton et al., JMLR 2012, equation 5 (the biased estimate, which is never negative):
L = mean k(s, s') + mean k(t, t') - 2 mean k(s, t) with k(x, y) the mean over bandwidths b of
exp(-|x - y|^2 / (b m)), m the median squared distance of all pairs of both batches.

>>> x = torch.eye(3)
>>> float(kernel_distance(x, x, bandwidths=[1.0]))
0.0
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from regraft.transfer.objective import Objective
from regraft.transfer.objectives.domains import target_of
from regraft.transfer.step import Step


class Term(Objective):
    """The squared maximum mean discrepancy of the embeddings of the two batches."""

    needs_unlabelled = True

    def __init__(self, *, bandwidths: Sequence[float] = (0.25, 0.5, 1.0, 2.0, 4.0)) -> None:
        super().__init__()
        self.bandwidths = tuple(bandwidths)

    def forward(self, step: Step) -> torch.Tensor:
        source, target = step.labelled.embeddings, target_of(step).embeddings
        return kernel_distance(source, target, bandwidths=self.bandwidths)


def kernel_distance(
    x: torch.Tensor, y: torch.Tensor, *, bandwidths: Sequence[float]
) -> torch.Tensor:
    """Squared distance, 0 to 2, of the kernel means of x (n, d) and y (m, d)."""
    distances = _squared_distances(torch.cat([x, y]))
    rows, columns = torch.triu_indices(len(distances), len(distances), 1, device=x.device)
    median = distances.detach()[rows, columns].median().clamp(min=1e-12)
    kernel = torch.stack([torch.exp(-distances / (b * median)) for b in bandwidths]).mean(0)
    n = len(x)
    return kernel[:n, :n].mean() + kernel[n:, n:].mean() - 2 * kernel[:n, n:].mean()


def _squared_distances(z: torch.Tensor) -> torch.Tensor:
    """(n, n), without the square root whose slope at 0 is infinite."""
    squares = z.square().sum(1)
    return (squares.unsqueeze(1) + squares - 2 * z @ z.T).clamp(min=0)
