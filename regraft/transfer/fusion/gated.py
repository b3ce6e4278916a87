"""Late fusion with a gate (mixture of experts: Jacobs et al., Neural Computation 3, 1991; gated
multimodal unit: Arevalo et al., ICLR workshop 2017).

    p = g p_image + (1 - g) p_text,    g = sigmoid(v . [1, s_image, s_text])

s: how sure an expert is, the largest of its log-probabilities and its entropy. v minimises the log
loss on held-out pairs plus penalty |v without the first|^2.

    Gated(np.zeros(5)).log_probabilities(pairs, opinions)  # (n, classes)
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regraft.transfer.fusion import Embedded, Floats, Opinions
from regraft.transfer.fusion.pooled import fit_on_opinions

_LARGEST = 30.0


@dataclass(frozen=True)
class Gated:
    """`weights` (5,) of 1 and of what `_sureness` says."""

    weights: Floats

    def gate(self, opinions: Opinions) -> Floats:
        """The weight of the image for each pair, (n,)."""
        scores = np.clip(_sureness(opinions) @ self.weights, -_LARGEST, _LARGEST)
        return np.asarray(1 / (1 + np.exp(-scores)))

    def log_probabilities(self, pairs: Embedded, opinions: Opinions) -> Floats:
        g = self.gate(opinions)[:, None]
        both = g * np.exp(opinions.image) + (1 - g) * np.exp(opinions.text)
        return np.asarray(np.log(np.maximum(both, 1e-12)))

    def values(self) -> dict[str, Any]:
        return {"numbers": self.weights}


def fit(
    pairs: Embedded,
    opinions: Opinions,
    labels: NDArray[np.int64],
    folds: NDArray[np.int64],
    *,
    penalty: float,
) -> tuple[Gated, Floats]:
    """As `transfer.fusion.fit_fusion`; `penalty` weighs as much as so many pairs."""
    return fit_on_opinions(partial(_best, penalty=penalty), pairs, opinions, labels, folds)


def _sureness(opinions: Opinions) -> Floats:
    columns = [np.ones(len(opinions.text))]
    for expert in (opinions.image, opinions.text):
        columns += [expert.max(1), -(np.exp(expert) * expert).sum(1)]
    return np.stack(columns, 1)


def _best(opinions: Opinions, labels: NDArray[np.int64], *, penalty: float) -> Gated:
    from scipy.optimize import minimize

    n = np.arange(len(labels))
    image, text = np.exp(opinions.image[n, labels]), np.exp(opinions.text[n, labels])

    def loss(x: Floats) -> float:
        g = Gated(x).gate(opinions)
        likelihood = np.log(np.maximum(g * image + (1 - g) * text, 1e-12)).mean()
        return float(-likelihood + penalty / len(n) * (x[1:] ** 2).sum())

    return Gated(np.asarray(minimize(loss, np.zeros(5), method="L-BFGS-B").x))
