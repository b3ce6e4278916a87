"""Every example once per epoch, in random order: stochastic gradient descent without replacement.

>>> sampler = Sampler(labels=np.zeros(4), n_classes=1, difficulty=None, n_epochs=1)
>>> sorted(sampler.order(0, np.random.default_rng(0)).tolist())
[0, 1, 2, 3]
"""

from __future__ import annotations

import numpy as np


class Sampler:
    """A permutation of all examples."""

    def __init__(
        self, *, labels: np.ndarray, n_classes: int, difficulty: np.ndarray | None, n_epochs: int
    ) -> None:
        self._n = len(labels)

    def order(self, epoch: int, rng: np.random.Generator) -> np.ndarray:
        """(n,) indices."""
        return rng.permutation(self._n)
