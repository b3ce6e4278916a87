"""Which model suits the target better, asked without a single target label.

Each validator takes what a model says of unlabelled target examples, `features` (n, ...) and
`probabilities` (n, classes), and returns a score; higher is better. None of them is a measure of
accuracy: they rank models of one family, and Musgrave, Belongie and Lim, "Benchmarking Validation
Methods for Unsupervised Domain Adaptation", 2022, show where each of them fails. Each
can be won by a model that is confidently wrong, so compare with the model before adaptation.

>>> sure = np.array([[1.0, 0.0], [0.0, 1.0]])
>>> round(information_maximisation(sure, sure), 4), abs(mean_entropy(sure, sure))
(0.6931, 0.0)
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from regraft.errors import UserError

Floats = NDArray[np.float64]
Validator = Callable[[ArrayLike, ArrayLike], float]

_ROWS = 1024


def mean_entropy(features: ArrayLike, probabilities: ArrayLike) -> float:
    """Minus the mean entropy of the predictions, in nats, at most 0: certainty.

    Source: Morerio, Cavazza and Murino, ICLR 2018, section 4. Blind to a model that gives every
    example one class.
    """
    p = _checked(probabilities)
    return float(-_entropy(p).mean())


def information_maximisation(features: ArrayLike, probabilities: ArrayLike) -> float:
    """Entropy of the mean prediction less the mean entropy, in nats: certainty and diversity.

    0 where all examples get one answer, log(classes) where sure answers are spread evenly. Source:
    Musgrave, Belongie and Lim 2022, section 3 (after Shi and Sha, ICML 2012). It prefers even
    classes, so it misleads where the target's are not.
    """
    p = _checked(probabilities)
    return float(_entropy(p.mean(0, keepdims=True))[0] - _entropy(p).mean())


def soft_neighbourhood_density(
    features: ArrayLike, probabilities: ArrayLike, *, temperature: float = 0.05
) -> float:
    """Mean entropy, in nats, of who an example's neighbours are: how densely examples cluster.

    Source: Saito et al., "Tune it the Right Way", ICCV 2021, section 3.2: with f_i the prediction
    of i at unit length, row i of S is softmax over j != i of <f_i, f_j> / temperature, and the
    score is the mean entropy of the rows, at most log(n - 1).
    """
    p = _checked(probabilities)
    if len(p) < 3:
        raise UserError(
            "too few target examples to look for neighbours", got=str(len(p)), expected="at least 3"
        )
    unit = p / np.linalg.norm(p, axis=1, keepdims=True)
    entropies = []
    for first in range(0, len(unit), _ROWS):  # (n, n) may not fit in memory
        similarity = unit[first : first + _ROWS] @ unit.T / temperature
        rows = np.arange(len(similarity))
        similarity[rows, first + rows] = -np.inf
        odds = np.exp(similarity - similarity.max(1, keepdims=True))
        entropies.append(_entropy(odds / odds.sum(1, keepdims=True)))
    return float(np.concatenate(entropies).mean())


VALIDATORS: dict[str, Validator] = {
    "mean_entropy": mean_entropy,
    "information_maximisation": information_maximisation,
    "soft_neighbourhood_density": soft_neighbourhood_density,
}
"""Those that need nothing but features and probabilities."""


def _entropy(probabilities: Floats) -> Floats:
    """Entropy (n,) of each row, in nats; 0 log 0 is 0."""
    logs = np.log(np.where(probabilities > 0, probabilities, 1.0))
    return np.asarray(-(probabilities * logs).sum(1))


def _checked(probabilities: ArrayLike) -> Floats:
    p = np.asarray(probabilities, dtype=np.float64)
    if p.ndim != 2 or not len(p) or not np.isfinite(p).all() or p.min() < 0:
        raise UserError(
            "a label-free validator needs probabilities of target examples",
            got=f"an array {p.shape}",
            expected="(n, classes), finite and not negative, n > 0",
        )
    return p
