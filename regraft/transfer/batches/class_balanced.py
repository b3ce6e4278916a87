"""Class-balanced sampling: every class equally often, whatever its size.

Source: instance- against class-balanced sampling in Kang et al., "Decoupling Representation and
Classifier for Long-Tailed Recognition", ICLR 2020, section 3. An epoch has n draws, n / classes of
each class, give or take one. Within a class the draws are whole permutations, so that no example
is repeated before every other one was shown. Beside it, class weights in the loss would correct
for the same imbalance twice: switch them off (`class_balance: false`).

>>> labels = np.array([0, 0, 0, 0, 0, 1])
>>> sampler = Sampler(labels=labels, n_classes=2, difficulty=None, n_epochs=1)
>>> np.bincount(labels[sampler.order(0, np.random.default_rng(0))]).tolist()
[3, 3]
"""

from __future__ import annotations

import numpy as np


class Sampler:
    """n draws, the same number for every class that has examples."""

    def __init__(
        self, *, labels: np.ndarray, n_classes: int, difficulty: np.ndarray | None, n_epochs: int
    ) -> None:
        members = [np.flatnonzero(labels == one) for one in range(n_classes)]
        self._members = [one for one in members if len(one)]
        self._n = len(labels)

    def order(self, epoch: int, rng: np.random.Generator) -> np.ndarray:
        """(n,) indices, in random order."""
        each, over = divmod(self._n, len(self._members))
        counts = np.full(len(self._members), each)
        counts[rng.choice(len(counts), over, replace=False)] += 1
        drawn = [
            _draw(one, int(count), rng) for one, count in zip(self._members, counts, strict=True)
        ]
        return rng.permutation(np.concatenate(drawn))


def _draw(members: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    rounds = -(-count // len(members))
    drawn: np.ndarray = np.concatenate([rng.permutation(members) for _ in range(max(rounds, 1))])
    return drawn[:count]
