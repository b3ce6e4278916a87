"""Bootstrap over groups: intervals that respect near-duplicates, at the cost of one matrix product.

Resampling G groups with replacement and adding up their tallies is the same experiment as drawing,
from a multinomial, how often each *kind* of group (groups with equal tallies) occurs. Most groups
hold one example and there are few kinds, so 2,000 replicates take milliseconds, and the result is
exact, not an approximation (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, ch. 6).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from regraft.errors import UserError
from regraft.shift.cross_validation import wilson_interval

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

REPLICATES = 2000
LEVEL = 0.95


def group_codes(groups: ArrayLike | Sequence[Any] | None, count: int) -> Ints:
    """Return group numbers 0..G-1, shape (count,); without `groups` each example is its own group.

    Raises UserError if the length differs or a group is missing.
    """
    if groups is None:
        return np.arange(count, dtype=np.int64)
    import pandas as pd

    codes, _ = pd.factorize(np.asarray(groups, dtype=object))
    if len(codes) != count:
        raise UserError(
            "groups do not match the examples", got=str(len(codes)), expected=str(count)
        )
    if (codes < 0).any():
        raise UserError("some examples have no group", got=f"{int((codes < 0).sum())} of {count}")
    return codes.astype(np.int64)


def class_tallies(labels: Ints, predicted: Ints, codes: Ints, classes: int) -> Ints:
    """Count per group and class; the columns are [hits | labels | predictions]: (G, 3 classes)."""
    groups = int(codes.max()) + 1
    hits = labels == predicted

    def count(where: Ints, of: Ints) -> Ints:
        flat = np.bincount(where * classes + of, minlength=groups * classes)
        return flat.reshape(groups, classes).astype(np.int64)

    parts = [count(codes[hits], labels[hits]), count(codes, labels), count(codes, predicted)]
    return np.concatenate(parts, axis=1)


def resample(tallies: Ints, *, replicates: int = REPLICATES, seed: int = 0) -> Floats:
    """Sum the tallies of G groups drawn with replacement; (G, k) -> (replicates, k)."""
    kinds, counts = np.unique(tallies, axis=0, return_counts=True)
    draws = np.random.default_rng(seed).multinomial(
        len(tallies), counts / len(tallies), size=replicates
    )
    return draws.astype(np.float64) @ kinds.astype(np.float64)


def accuracy_of(tallies: NDArray[Any]) -> Floats:
    """Accuracy from class tallies, shape (..., 3 classes) -> (...)."""
    hits, labels, _ = np.split(tallies, 3, axis=-1)
    return np.asarray(hits.sum(-1) / labels.sum(-1), dtype=np.float64)


def macro_f1_of(tallies: NDArray[Any]) -> Floats:
    """Macro-F1 over the classes that occur in labels or predictions; (..., 3 classes) -> (...)."""
    hits, labels, predictions = np.split(tallies, 3, axis=-1)
    occurring = labels + predictions
    f1 = np.divide(2.0 * hits, occurring, out=np.zeros(hits.shape), where=occurring > 0)
    return np.asarray(f1.sum(-1) / (occurring > 0).sum(-1), dtype=np.float64)


def percentile_interval(samples: Floats, level: float = LEVEL) -> tuple[float, float]:
    """Return the central `level` interval of the replicates (percentile method)."""
    low, high = np.quantile(samples, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def accuracy_interval(
    correct: ArrayLike,
    groups: ArrayLike | Sequence[Any] | None = None,
    *,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> tuple[float, float]:
    """95 % interval of an accuracy; `correct` is a bool array (n,).

    Where all groups agree (everything right, or one group only) a bootstrap would claim certainty;
    the Wilson interval with one vote per group is given instead.
    """
    hits = np.asarray(correct, dtype=bool)
    if not len(hits):
        raise UserError("an interval needs at least one example", got="0 examples")
    codes = group_codes(groups, len(hits))
    tallies = np.stack([np.bincount(codes[hits], minlength=codes.max() + 1), np.bincount(codes)], 1)
    sums = resample(tallies, replicates=replicates, seed=seed)
    low, high = percentile_interval(sums[:, 0] / sums[:, 1])
    return (low, high) if high > low else wilson_interval(float(hits.mean()), len(tallies))
