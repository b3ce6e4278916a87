"""Curriculum: easy examples first, all of them later.

Source: Bengio et al., "Curriculum Learning", ICML 2009; scoring by a probe on transferred
features and pacing as in Hacohen and Weinshall, "On The Power of Curriculum Learning in Training
Deep Networks", ICML 2019, section 2, with a linear pace: epoch e shows the easiest
start_share + (1 - start_share) e / E of each class, E = share_of_epochs * n_epochs. Per class, so
that the first epochs are no easier in their balance (same, section 2.1). The last epoch always
shows everything.

An early epoch is shorter than n draws: the schedule of learning rates must count the batches that
there are, `len(order(epoch, rng))`, not n.

>>> difficulty = np.array([0.1, 2.0, 0.2, 3.0])
>>> sampler = Sampler(labels=np.array([0, 0, 1, 1]), n_classes=2, difficulty=difficulty,
...                   n_epochs=4, start_share=0.5, share_of_epochs=0.5)
>>> [sorted(sampler.order(epoch, np.random.default_rng(0)).tolist()) for epoch in (0, 2)]
[[0, 2], [0, 1, 2, 3]]
"""

from __future__ import annotations

import math

import numpy as np

from regraft.errors import UserError


class Sampler:
    """A permutation of the examples that are easy enough.

    Raises
    ------
    UserError
        There is no finite difficulty for every example.
    """

    def __init__(
        self,
        *,
        labels: np.ndarray,
        n_classes: int,
        difficulty: np.ndarray | None,
        n_epochs: int,
        start_share: float,
        share_of_epochs: float,
    ) -> None:
        if difficulty is None or not np.isfinite(difficulty).all():
            raise UserError(
                "the curriculum does not know how difficult the examples are",
                where="finetune.sampling",
                got="no loss of the probe on held-out folds" if difficulty is None else "NaN",
                expected="a finite number for every training example",
                fix="label at least two examples of every class, or take kind: shuffled",
            )
        by_difficulty = np.argsort(difficulty, kind="stable")
        self._classes = [by_difficulty[labels[by_difficulty] == c] for c in range(n_classes)]
        self._start_share = start_share
        self._ramp = min(share_of_epochs * n_epochs, n_epochs - 1)

    def order(self, epoch: int, rng: np.random.Generator) -> np.ndarray:
        """(m,) indices, m <= n, in random order."""
        share = self._share(epoch)
        easy = [one[: math.ceil(share * len(one))] for one in self._classes]
        return rng.permutation(np.concatenate(easy))

    def _share(self, epoch: int) -> float:
        if epoch >= self._ramp:
            return 1.0
        return self._start_share + (1 - self._start_share) * epoch / self._ramp
