"""CORAL: embeddings of both domains with equal covariances.

Source: Sun and Saenko, "Deep CORAL", ECCV workshops 2016, equation 1: L = |C_S - C_T|_F^2 / (4 d^2)
for coordinates of order 1. Embeddings here have unit length; times sqrt(d) they have coordinates of
order 1, and d^2 cancels: L = |C_S - C_T|_F^2 / 4.

Covariances of d ~ 8,000 numbers would be d x d. With centred X (n, d), Y (m, d) the same number
comes from n x n, m x m and n x m products, because <X'X, Y'Y>_F = tr(X'X Y'Y) = |XY'|_F^2:
|X'X/(n-1) - Y'Y/(m-1)|^2
    = |XX'|^2 / (n-1)^2 + |YY'|^2 / (m-1)^2 - 2 |XY'|^2 / ((n-1)(m-1)).

>>> x = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
>>> float(covariance_distance(x, x)), float(covariance_distance(x, x.flip(1)))
(0.0, 8.0)
"""

from __future__ import annotations

import torch

from regraft.transfer.objective import Objective
from regraft.transfer.objectives.domains import target_of
from regraft.transfer.step import Step


class Term(Objective):
    """A quarter of the squared distance between the covariances of the two batches."""

    needs_unlabelled = True

    def forward(self, step: Step) -> torch.Tensor:
        return covariance_distance(step.labelled.embeddings, target_of(step).embeddings) / 4


def covariance_distance(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Squared Frobenius distance of the covariances of x (n, d) and y (m, d); n, m >= 2."""
    x = (x - x.mean(0)) / (len(x) - 1) ** 0.5
    y = (y - y.mean(0)) / (len(y) - 1) ** 0.5
    within = (x @ x.T).square().sum() + (y @ y.T).square().sum()
    return within - 2 * (x @ y.T).square().sum()
