"""Late fusion with one weight (linear opinion pool: Stone, Ann. Math. Stat. 32, 1961).

p = w p_image + (1 - w) p_text        w: most right answers on held-out pairs

Weighted(0.5).log_probabilities(pairs, Opinions(image, text))  # (n, classes)
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regraft.transfer.fusion import Embedded, Floats, Opinions
from regraft.transfer.fusion.pooled import accuracy, fit_on_opinions


@dataclass(frozen=True)
class Weighted:
    """`weight` is that of the image, from 0 to 1."""

    weight: float

    def log_probabilities(self, pairs: Embedded, opinions: Opinions) -> Floats:
        both = self.weight * np.exp(opinions.image) + (1 - self.weight) * np.exp(opinions.text)
        return np.asarray(np.log(np.maximum(both, 1e-12)))

    def values(self) -> dict[str, Any]:
        return {"numbers": np.array([self.weight])}


def fit(
    pairs: Embedded,
    opinions: Opinions,
    labels: NDArray[np.int64],
    folds: NDArray[np.int64],
    *,
    weights: int,
) -> tuple[Weighted, Floats]:
    """As `transfer.fusion.fit_fusion`; `weights` are how many are compared."""
    return fit_on_opinions(partial(_best, weights=weights), pairs, opinions, labels, folds)


def _best(opinions: Opinions, labels: NDArray[np.int64], *, weights: int) -> Weighted:
    image, text = np.exp(opinions.image), np.exp(opinions.text)
    tried = np.linspace(0, 1, weights)
    right = [accuracy(w * image + (1 - w) * text, labels) for w in tried]
    return Weighted(float(tried[int(np.argmax(right))]))
