"""What the late fusions share: fitted on held-out opinions, judged on folds they did not see."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from regraft.shift.cross_validation import fold_numbers
from regraft.transfer.fusion import Embedded, Floats, Fusion, Opinions

Late = TypeVar("Late", bound=Fusion)


def accuracy(scores: Floats, labels: NDArray[np.int64]) -> float:
    """Share of the labels (n,) that have the largest score."""
    return float((scores.argmax(1) == labels).mean())


def log_loss(log_probabilities: Floats, labels: NDArray[np.int64]) -> float:
    """Mean negative log-likelihood of the labels (n,)."""
    return float(-log_probabilities[np.arange(len(labels)), labels].mean())


def fit_on_opinions(
    fit: Callable[[Opinions, NDArray[np.int64]], Late],
    pairs: Embedded,
    opinions: Opinions,
    labels: NDArray[np.int64],
    folds: NDArray[np.int64],
) -> tuple[Late, Floats]:
    """What `transfer.fusion.fit_fusion` returns, for a fusion of opinions alone.

    It is fitted on pairs whose label occurs in another fold too. On the others no expert could be
    right, and how much they hurt says nothing of whom to trust.
    """
    known = answerable(labels, folds)
    held_out = np.zeros_like(opinions.text)
    for fold in fold_numbers(folds):
        own = folds == fold
        fitted = fit(opinions.rows(~own & known), labels[~own & known])
        held_out[own] = fitted.log_probabilities(pairs.rows(own), opinions.rows(own))
    return fit(opinions.rows(known), labels[known]), held_out


def answerable(labels: NDArray[np.int64], folds: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which pairs (n,) have a label that a pair of another fold has too."""
    _, columns = np.unique(folds, return_inverse=True)  # what is never held out is one more fold
    table = np.zeros((int(labels.max()) + 1, int(columns.max()) + 1), dtype=bool)
    table[labels, columns] = True
    return np.asarray(table.sum(1)[labels] > 1)
