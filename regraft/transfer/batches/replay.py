"""Replay: remembered old examples beside the new ones, with the answers the old model gave.

Source: Buzzega et al., "Dark Experience for General Continual Learning" (DER++), NeurIPS 2020,
equation 6: alpha |z - h(x)|^2 + beta CE(y, h(x)) over the memory, z the stored logits; the squares
are averaged over classes, as in the authors' code. One draw serves both terms (the paper draws
twice). Which examples are kept: reservoir sampling, Vitter, "Random Sampling with a Reservoir",
ACM TOMS 1985, algorithm R; or every class alike (as Chaudhry et al., "On Tiny Episodic Memories",
2019, found best when the memory is small).

>>> labels = np.array([0] * 8 + [1] * 2)
>>> kept = class_balanced(labels, 4, np.random.default_rng(0))
>>> np.bincount(labels[kept]).tolist()
[2, 2]
>>> memory_loss(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 0.0]]), torch.tensor([[1.0, 0.0]]),
...             alpha=1.0, beta=0.0).item()
0.5
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import cross_entropy, mse_loss


@dataclass(frozen=True)
class Memory:
    """Old examples that are shown again.

    Attributes
    ----------
    indices : (m,) of the kept examples among the old ones.
    logits : (m, classes) the old model's answers, in the class order of the new one; NaN for
        classes that it did not know.
    targets : (m, classes) the old labels.
    """

    indices: np.ndarray
    logits: torch.Tensor
    targets: torch.Tensor

    def draw(
        self, rng: np.random.Generator, n: int
    ) -> tuple[np.ndarray, torch.Tensor, torch.Tensor]:
        """Indices, logits and targets of `n` different kept examples, all of them if fewer."""
        chosen = rng.choice(len(self.indices), min(n, len(self.indices)), replace=False)
        return self.indices[chosen], self.logits[chosen], self.targets[chosen]


def memory_loss(
    logits: torch.Tensor,
    stored_logits: torch.Tensor,
    targets: torch.Tensor,
    *,
    alpha: float,
    beta: float,
) -> torch.Tensor:
    """DER++ of a batch of remembered examples; all (n, classes), stored logits as in `Memory`."""
    known = ~stored_logits.isnan()
    held = mse_loss(logits[known], stored_logits[known])
    return alpha * held + beta * cross_entropy(logits, targets)


def choose(labels: np.ndarray, size: int, choice: str, rng: np.random.Generator) -> np.ndarray:
    """Sorted indices of the `size` old examples to keep, by the name of the rule."""
    if choice == "class_balanced":
        return class_balanced(labels, size, rng)
    return np.sort(reservoir(range(len(labels)), size, rng))


def reservoir(stream: Iterable[int], size: int, rng: np.random.Generator) -> np.ndarray:
    """`size` elements of a stream of unknown length, each kept with the same probability."""
    kept: list[int] = []
    for seen, one in enumerate(stream):
        if len(kept) < size:
            kept.append(one)
        elif (place := int(rng.integers(seen + 1))) < size:
            kept[place] = one
    return np.array(kept, dtype=int)


def class_balanced(labels: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """Sorted indices of `size` examples: one of each class in turn, until a class has no more.

    Ties, where the last turn cannot serve every class, are drawn.
    """
    shuffled = rng.permutation(len(labels))
    turn = np.zeros(len(labels), dtype=int)
    for one in np.unique(labels):
        own = shuffled[labels[shuffled] == one]
        turn[own] = np.arange(len(own))
    return np.sort(shuffled[np.argsort(turn[shuffled], kind="stable")][:size])
