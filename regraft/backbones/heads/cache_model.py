"""Cache model in the manner of Tip-Adapter (Zhang et al., ECCV 2022, section 3.2, eq. 3 to 6).

    logits(x) = linear(x) + alpha * sum_i exp(-beta * (1 - cos(x, key_i))) * value_i

Keys (n, dim) are the training features, values (n, classes) their one-hot labels divided by the
size of the class, so that a class with more examples does not answer louder (with equal classes
that is the paper's formula at another alpha). The paper's zero-shot classifier is a linear head
here. The paper's `-F` variant, in which the keys learn, is what fine-tuning does to a `CacheHead`.

>>> import numpy as np
>>> ring = np.array([[0.0, 1.0], [1.0, 0.0], [0.0, -1.0], [-1.0, 0.0]])  # no line separates these
>>> cache = cache_model(np.repeat(ring, 3, axis=0), np.repeat([0, 1, 0, 1], 3))
>>> cache.logits(ring).argmax(1).tolist()
[0, 1, 0, 1]
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import nn

from regraft.backbones.heads.linear import Array, LinearHead, checked, unit_rows
from regraft.backbones.heads.ridge import ridge_head
from regraft.shift.cross_validation import assign_folds, fold_numbers

BETAS = (1.0, 3.0, 5.5, 10.0, 30.0, 100.0)
# Multiples of the alpha at which cache and linear head have logits of equal spread: what the
# right alpha is depends on the scale of the linear head and on beta.
SHARES = (0.1, 0.3, 1.0, 3.0)
DEFAULT_ALPHA, DEFAULT_BETA = 1.0, 5.5  # the paper's, where nothing can be held out
MOST_KEYS = 2000
"""Keys kept (classes get equal shares): 64 MiB at 8,336 numbers per embedding."""


@dataclass(frozen=True)
class CacheModel:
    """A linear head and a cache; `cv_accuracy` and its interval as in `LinearHead`."""

    linear: LinearHead
    keys: Array
    values: Array
    alpha: float
    beta: float
    cv_accuracy: float | None = None
    cv_low: float | None = None
    cv_high: float | None = None

    @property
    def strength(self) -> float:
        """The inverse penalty of the linear part."""
        return self.linear.strength

    def logits(self, features: ArrayLike) -> Array:
        """Unnormalised scores (n, classes) of `features` (n, dim)."""
        x = np.asarray(features, dtype=np.float64)
        found = cache_scores(unit_rows(x) @ self.keys.T, self.values, self.beta)
        return self.linear.logits(x) + self.alpha * found

    def scaled(self, factor: float) -> CacheModel:
        """The same head with its logits multiplied by `factor`."""
        return replace(self, linear=self.linear.scaled(factor), alpha=self.alpha * factor)

    def mapped(self, basis: Array) -> CacheModel:
        """The same head on features `x @ basis` with orthonormal rows `basis` (rank, dim)."""
        return replace(self, linear=self.linear.mapped(basis), keys=self.keys @ basis)

    def arrays(self) -> dict[str, Any]:
        """What `Classifier.set_head` takes and an .npz file holds."""
        own = {"keys": self.keys, "values": self.values}
        numbers = {"alpha": np.asarray(self.alpha), "beta": np.asarray(self.beta)}
        return self.linear.arrays() | own | numbers


def cache_model(
    features: ArrayLike,
    labels: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    linear: LinearHead | None = None,
    folds: int = 5,
    seed: int = 0,
) -> CacheModel:
    """A cache beside `linear` (default: ridge regression), alpha and beta by cross-validation.

    Folds keep `groups` whole. A `linear` head that is given counts as one that has not seen the
    examples (the paper's zero-shot classifier); the default is fitted anew for every fold. Where
    nothing can be held out alpha and beta are the paper's.
    """
    x, y = checked(features, labels)
    assigned = assign_folds(y, groups, folds=folds, seed=seed)
    held_out = np.zeros((len(y), int(y.max()) + 1))
    for fold in fold_numbers(assigned):
        out = assigned == fold
        head = linear or ridge_head(x[~out], y[~out])
        held_out[out] = head.logits(x[out])
    alpha, beta, _ = search(x, y, assigned, held_out)
    return built(linear or ridge_head(x, y), x, y, alpha, beta)


def built(
    linear: LinearHead, features: Array, labels: Array, alpha: float, beta: float
) -> CacheModel:
    """The cache of these examples beside `linear`; of many, each class keeps an equal share."""
    kept = _kept(labels)
    return CacheModel(linear, unit_rows(features[kept]), _values(labels[kept]), alpha, beta)


def search(
    features: Array, labels: Array, assigned: Array, linear_logits: Array
) -> tuple[float, float, Array]:
    """alpha and beta with the best accuracy on held-out folds, and the logits (n, classes) there.

    `linear_logits` (n, classes) are the linear head's, by a fit that has not seen the example's
    fold. Of equal accuracies the smallest beta counts, then the smallest alpha.
    """
    out = np.flatnonzero(assigned >= 0)
    if not len(out):
        return DEFAULT_ALPHA, DEFAULT_BETA, linear_logits
    accuracy, alpha, chosen, answers = -1.0, DEFAULT_ALPHA, DEFAULT_BETA, linear_logits
    for beta in BETAS:
        cache = _held_out_scores(features, labels, assigned, beta)
        unit = (_spread(linear_logits[out]) or 1.0) / max(_spread(cache[out]), 1e-300)
        for share in SHARES:
            logits = linear_logits + share * unit * cache
            right = float((logits[out].argmax(1) == labels[out]).mean())
            if right > accuracy:
                accuracy, alpha, chosen, answers = right, share * unit, beta, logits
    return alpha, chosen, answers


def cache_scores(similarity: Array, values: Array, beta: float) -> Array:
    """exp(-beta * (1 - similarity)) @ values: (n, keys), (keys, classes) to (n, classes)."""
    return np.asarray(np.exp(-beta * (1 - similarity)) @ values)


def _held_out_scores(features: Array, labels: Array, assigned: Array, beta: float) -> Array:
    """The cache's scores (n, classes) of every example by keys of other folds."""
    x, scores = unit_rows(features), np.zeros((len(labels), int(labels.max()) + 1))
    for fold in fold_numbers(assigned):
        out, keys = assigned == fold, np.flatnonzero(assigned != fold)
        keys = keys[_kept(labels[keys])]
        scores[out] = cache_scores(x[out] @ x[keys].T, _values(labels[keys]), beta)
    return scores


def _values(labels: Array) -> Array:
    """One-hot labels (n, classes), each divided by the size of its class."""
    counts = np.bincount(labels)
    return np.asarray(np.eye(len(counts))[labels] / counts[labels][:, None])


def _kept(labels: Array) -> Array:
    """Positions of at most `MOST_KEYS` examples, the first ones of every class."""
    share = max(MOST_KEYS // (int(labels.max()) + 1), 1)
    positions = [np.flatnonzero(labels == label)[:share] for label in np.unique(labels)]
    return np.sort(np.concatenate(positions))


def _spread(logits: Array) -> float:
    """How far classes lie apart: an offset that all classes share says nothing."""
    return float((logits - logits.mean(1, keepdims=True)).std())


class CacheHead(nn.Module):
    """`CacheModel` as a module: (n, dim) to (n, classes). Linear part and keys can be trained."""

    values: torch.Tensor
    alpha: torch.Tensor
    beta: torch.Tensor

    def __init__(self, dim: int, classes: int, keys: int) -> None:
        super().__init__()
        self.linear = nn.Linear(dim, classes)
        self.keys = nn.Parameter(torch.zeros(keys, dim))
        self.register_buffer("values", torch.zeros(keys, classes))
        self.register_buffer("alpha", torch.tensor(DEFAULT_ALPHA))
        self.register_buffer("beta", torch.tensor(DEFAULT_BETA))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (n, classes) of features (n, dim)."""
        unit = nn.functional.normalize(x.float(), dim=1)
        similarity = unit @ nn.functional.normalize(self.keys.float(), dim=1).T
        cache = torch.exp(-self.beta * (1 - similarity)) @ self.values
        logits: torch.Tensor = self.linear(x) + self.alpha * cache
        return logits
