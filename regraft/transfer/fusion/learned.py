"""Late fusion with learned exponents (logarithmic opinion pool: Heskes, NIPS 1998; products of
experts: Hinton, Neural Computation 14, 2002).

    log p = a log p_image + b log p_text + c log prior - log Z

a, b, c minimise the log loss on held-out pairs plus penalty ((a - 1/2)^2 + (b - 1/2)^2 + c^2). The
prior is that of the training labels: c < 0 takes out what both experts count twice. Exponents
cannot grow for a modality that is only sure of what it has seen, which guards against the
dominating one.

    Learned(0.5, 0.5, 0.0, prior).log_probabilities(pairs, opinions)  # (n, classes)
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax

from regraft.transfer.fusion import Embedded, Floats, Opinions
from regraft.transfer.fusion.pooled import fit_on_opinions, log_loss

_START = np.array([0.5, 0.5, 0.0])


@dataclass(frozen=True)
class Learned:
    """Exponents `image`, `text` and `of_prior`; `prior` (classes,) are log-probabilities."""

    image: float
    text: float
    of_prior: float
    prior: Floats

    def log_probabilities(self, pairs: Embedded, opinions: Opinions) -> Floats:
        both = self.image * opinions.image + self.text * opinions.text
        return np.asarray(log_softmax(both + self.of_prior * self.prior, axis=1))

    def values(self) -> dict[str, Any]:
        return {"numbers": np.array([self.image, self.text, self.of_prior]), "prior": self.prior}


def fit(
    pairs: Embedded,
    opinions: Opinions,
    labels: NDArray[np.int64],
    folds: NDArray[np.int64],
    *,
    penalty: float,
) -> tuple[Learned, Floats]:
    """As `transfer.fusion.fit_fusion`; `penalty` weighs as much as so many pairs."""
    return fit_on_opinions(partial(_best, penalty=penalty), pairs, opinions, labels, folds)


def _best(opinions: Opinions, labels: NDArray[np.int64], *, penalty: float) -> Learned:
    from scipy.optimize import minimize

    n, classes = opinions.text.shape
    prior = np.log((np.bincount(labels, minlength=classes) + 1) / (n + classes))

    def loss(x: Floats) -> float:
        scores = x[0] * opinions.image + x[1] * opinions.text + x[2] * prior
        return log_loss(log_softmax(scores, axis=1), labels) + penalty / n * float(
            ((x - _START) ** 2).sum()
        )

    bounds = [(0.0, 3.0), (0.0, 3.0), (-3.0, 3.0)]
    found = minimize(loss, _START, method="L-BFGS-B", bounds=bounds).x
    return Learned(float(found[0]), float(found[1]), float(found[2]), prior)
