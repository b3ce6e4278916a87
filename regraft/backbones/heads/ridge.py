"""Ridge regression on one-hot labels (Hoerl and Kennard, 1970), in closed form.

    min_W,b  strength * |onehot - x W - b|^2 + |W|^2

>>> head = ridge_head([[0.0, 1.0], [1.0, 0.0]], [0, 1], strength=1000.0)
>>> head.logits([[0.0, 1.0], [1.0, 0.0]]).round(2).tolist()
[[1.0, 0.0], [0.0, 1.0]]
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike

from regraft.backbones.heads.linear import LinearHead, checked, span


def ridge_head(features: ArrayLike, labels: ArrayLike, *, strength: float = 10.0) -> LinearHead:
    """Ridge regression on one-hot labels, in closed form.

    Minimises `strength * |onehot - x W - b|^2 + |W|^2`. The logits approximate 0 and 1: rank
    classes with them, and scale them by a temperature before reading probabilities.
    """
    (head,) = ridge_path(features, labels, (strength,))
    return head


def ridge_path(
    features: ArrayLike, labels: ArrayLike, strengths: Sequence[float]
) -> Iterator[LinearHead]:
    """`ridge_head` at each of these strengths, for the price of one decomposition."""
    x, y = checked(features, labels)
    targets = np.eye(y.max() + 1)[y]
    coordinates, basis, variances = span(x - x.mean(0))
    products = targets.T @ coordinates
    for strength in strengths:
        weight = (products / (variances + 1 / strength)) @ basis
        yield LinearHead(weight, targets.mean(0) - weight @ x.mean(0), float(strength))
