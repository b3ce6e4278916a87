"""The row of one further class beside known ones that stay as they are.

With the known rows fixed, the softmax of known and new logits is a logistic regression with an
offset: the odds of the new class are exp(x w + b - s(x)), where s(x) is the log of the sum of the
exponentials of the known logits. So

    min_w,b  strength * sum_i c_i * log(1 + exp(-t_i (x_i w + b - s_i))) + |w|^2 / 2

with t_i = 1 for the new class and -1 for the known ones, is the row that the cross-entropy asks
for. c_i lets the new class weigh as much as a known class has examples on average. The answers
among the known classes cannot change; they can only lose examples to the new one. (Keeping the
known rows is the idea of weight imprinting: Qi, Brown and Lowe, CVPR 2018; here the new row is
learned against the old examples instead of being a class mean.)

>>> known = np.array([[0.0], [0.0], [0.0], [0.0]])  # one known class, logit 0
>>> x = np.array([[0.0, 1.0], [0.2, 1.0], [1.0, 0.0], [1.0, 0.2]])
>>> row = further_class(x, [False, False, True, True], known, strength=100.0)
>>> (row.logits(x) > 0).tolist()
[False, False, True, True]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import minimize
from scipy.special import expit, logsumexp

from regraft.backbones.heads.linear import Array, span
from regraft.shift.cross_validation import assign_folds, fold_numbers

STRENGTHS = (1.0, 10.0, 100.0, 1000.0, 10000.0)
DEFAULT_STRENGTH = 100.0


@dataclass(frozen=True)
class Row:
    """`weight` (dim,) and `bias` of one class, and the inverse penalty they were fitted with."""

    weight: Array
    bias: float
    strength: float

    def logits(self, features: ArrayLike) -> Array:
        """The class's logits (n,) of `features` (n, dim)."""
        return np.asarray(np.asarray(features, dtype=np.float64) @ self.weight + self.bias)


def further_class(
    features: ArrayLike,
    is_new: ArrayLike,
    known_logits: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    strength: float | None = None,
    strengths: Sequence[float] = STRENGTHS,
    seed: int = 0,
) -> Row:
    """The new class's row from `features` (n, dim) of its examples and of the known classes'.

    `is_new` (n,) says which are its; `known_logits` (n, classes) are the known classes' calibrated
    logits. Without `strength` the one with the least weighted out-of-fold loss is taken, on folds
    that keep `groups` whole; where the new class has a single group, `DEFAULT_STRENGTH`.
    """
    x, new = np.asarray(features, dtype=np.float64), np.asarray(is_new, dtype=bool)
    known = np.asarray(known_logits, dtype=np.float64)
    problem = _Problem(x, new, logsumexp(known, axis=1), known.shape[1])
    if strength is None:
        folds = assign_folds(new, groups, seed=seed)
        strength = problem.best(strengths, folds) if (folds[new] >= 0).all() else DEFAULT_STRENGTH
    return problem.row(np.ones(len(new), dtype=bool), strength)


class _Problem:
    """Solved in the span of the examples, where the optimum lies (representer theorem)."""

    def __init__(self, x: Array, new: Array, offset: Array, classes: int) -> None:
        self.mean, self.sign, self.offset = x.mean(0), np.where(new, 1.0, -1.0), offset
        self.z, self.basis, self.variances = span(x - self.mean)
        share = (~new).sum() / max(classes * new.sum(), 1)
        self.weights = np.where(new, share, 1.0)

    def row(self, keep: Array, strength: float) -> Row:
        solution = self.solve(keep, strength)
        weight = solution[:-1] @ self.basis
        return Row(weight, float(solution[-1] - weight @ self.mean), strength)

    def best(self, strengths: Sequence[float], folds: Array) -> float:
        """The strength with the least weighted loss on held-out folds."""
        losses = np.zeros(len(strengths))
        for fold in fold_numbers(folds):
            out = folds == fold
            for index, strength in enumerate(strengths):
                margin = self._margin(self.solve(~out, strength), out)
                losses[index] += (self.weights[out] * np.logaddexp(0, -margin)).sum()
        return strengths[int(losses.argmin())]

    def solve(self, keep: Array, strength: float) -> Array:
        """Optimum (rank + 1,), bias last, on the rows `keep`."""
        z, sign, weights = self.z[keep], self.sign[keep], strength * self.weights[keep]
        total = weights.sum() / 4
        scale = 1 / np.sqrt(np.append(1 + total / len(z) * self.variances / len(self.z), total))

        def loss(flat: Array) -> tuple[float, Array]:
            solution = flat * scale
            margin = self._margin(solution, keep)
            slope = -weights * sign * expit(-margin)
            value = (weights * np.logaddexp(0, -margin)).sum() + (solution[:-1] ** 2).sum() / 2
            gradient = np.append(z.T @ slope + solution[:-1], slope.sum())
            return float(value), gradient * scale

        start = np.zeros(z.shape[1] + 1)
        start[-1] = self.offset[keep].mean() / scale[-1]
        found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 2000})
        return np.asarray(found.x * scale)

    def _margin(self, solution: Array, rows: Array) -> Array:
        """How far examples lie on their own side of the boundary, in logits."""
        odds = self.z[rows] @ solution[:-1] + solution[-1] - self.offset[rows]
        return np.asarray(self.sign[rows] * odds)
