"""Multinomial logistic regression with an L2 penalty, its strength chosen by cross-validation.

    min_W,b  strength * sum_i -log softmax(x_i W + b)[y_i] + |W|^2 / 2

>>> head = logistic_probe([[0.0, 1.0], [1.0, 0.0]], [0, 1], strength=10.0)
>>> head.logits([[0.0, 1.0], [1.0, 0.0]]).argmax(1).tolist()
[0, 1]
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from regraft.backbones.heads.linear import Array, LinearHead, checked, span
from regraft.errors import UserError
from regraft.shift.cross_validation import assign_folds, fold_numbers, wilson_interval

log = logging.getLogger(__name__)

STRENGTHS = (0.1, 1.0, 10.0, 100.0, 1000.0, 10000.0)
# Few examples in many dimensions are separable: a weak penalty lost nothing on leaf photographs
# (within 0.3 points of the best from 2 to 100 per class), a strong one lost up to 5 points.
DEFAULT_STRENGTH = 1000.0


def logistic_probe(
    features: ArrayLike,
    labels: ArrayLike,
    *,
    strength: float | None = None,
    groups: ArrayLike | None = None,
    strengths: Sequence[float] = STRENGTHS,
    folds: int = 5,
    seed: int = 0,
) -> LinearHead:
    """Multinomial logistic regression with an L2 penalty on the weights.

    Minimises `strength * sum(log loss) + |weight|^2 / 2`, scikit-learn's `C` (for two classes
    both rows are penalised, which equals scikit-learn's binary form at `C = 2 * strength`).

    Without `strength` the one of `strengths` with the least out-of-fold log loss is taken, on
    folds that are stratified and keep `groups` whole. Log loss and not accuracy, because at five
    examples per class accuracies tie. With one group per class nothing can be held out: then
    `DEFAULT_STRENGTH`. Several views of an example may be rows of their own if they share a group.
    Raises UserError for features or labels that cannot be fitted.
    """
    x, y = checked(features, labels)
    problem = _SoftmaxRegression(x, np.eye(y.max() + 1)[y])
    candidates = sorted(strengths) if strength is None else [strength]
    if candidates[0] <= 0:
        raise UserError("a strength of the probe is not positive", got=str(candidates[0]))
    assigned = assign_folds(y, groups, folds=folds, seed=seed)
    scores = _out_of_fold_scores(problem, assigned, candidates)
    held_out = np.flatnonzero(assigned >= 0)
    if not len(held_out):
        chosen = DEFAULT_STRENGTH if strength is None else strength
        return LinearHead(*problem.head(problem.solve(np.arange(len(y)), chosen)), chosen)
    best = int(np.argmin([_log_loss(s[held_out], y[held_out]) for s in scores]))
    right = (scores[best].argmax(1) == y)[held_out]
    independent = held_out if groups is None else np.unique(np.asarray(groups)[held_out])
    low, high = wilson_interval(float(right.mean()), len(independent))
    solution = problem.solve(np.arange(len(y)), candidates[best])
    return LinearHead(*problem.head(solution), candidates[best], float(right.mean()), low, high)


class _SoftmaxRegression:
    """The penalised likelihood of one set of examples, solved on any of its rows.

    The optimum of an L2-regularised linear model lies in the span of the examples (representer
    theorem), so in the coordinates of their SVD the problem has at most n dimensions and is the
    same problem. There the Hessian is nearly diagonal: dividing by its root lets L-BFGS end in
    tens of steps at any strength.
    """

    def __init__(self, features: Array, targets: Array) -> None:
        self.targets = targets
        self.mean = features.mean(0)
        self.coordinates, self.basis, self.variances = span(features - self.mean)

    def head(self, solution: Array) -> tuple[Array, Array]:
        """Weight (classes, dim) and bias (classes,) in the space of the features."""
        weight = solution[:, :-1] @ self.basis
        return weight, solution[:, -1] - weight @ self.mean

    def scores(self, solution: Array, rows: Array) -> Array:
        return np.asarray(self.coordinates[rows] @ solution[:, :-1].T + solution[:, -1])

    def solve(
        self,
        rows: Array,
        strength: float,
        start: Array | None = None,
        tolerance: float = 1e-7,
    ) -> Array:
        """Optimum (classes, rank + 1), bias last."""
        from scipy.optimize import minimize

        z, y = self.coordinates[rows], self.targets[rows]
        shape = (y.shape[1], z.shape[1] + 1)
        scale = self._preconditioner(len(rows), strength)

        def loss(flat: Array) -> tuple[float, Array]:
            value, gradient = _penalised_loss(flat.reshape(shape) * scale, z, y, strength)
            return value, (gradient * scale).ravel()

        first = np.zeros(shape) if start is None else start / scale
        goal = tolerance * np.sqrt(len(rows) * strength)
        options = {
            "maxiter": 5000,
            "maxfun": 10000,
            "gtol": goal,
            "ftol": 1e-13,
            "maxcor": 20,
        }
        found = minimize(loss, first.ravel(), jac=True, method="L-BFGS-B", options=options)
        if found.status == 1:
            log.warning("logistic probe stopped before it converged (strength %g)", strength)
        return np.asarray(found.x.reshape(shape) * scale)

    def _preconditioner(self, rows: int, strength: float) -> Array:
        classes = self.targets.shape[1]
        slope = strength * (1 - 1 / classes) / classes
        share = rows / len(self.coordinates)
        return np.asarray(1 / np.sqrt(np.append(1 + slope * share * self.variances, slope * rows)))


def _penalised_loss(w: Array, z: Array, y: Array, strength: float) -> tuple[float, Array]:
    scores = z @ w[:, :-1].T + w[:, -1]
    scores -= scores.max(1, keepdims=True)
    odds = np.exp(scores)
    sums = odds.sum(1, keepdims=True)
    value = strength * (np.log(sums).sum() - (scores * y).sum()) + 0.5 * (w[:, :-1] ** 2).sum()
    residual = strength * (odds / sums - y)
    return float(value), np.column_stack([residual.T @ z + w[:, :-1], residual.sum(0)])


def _out_of_fold_scores(
    problem: _SoftmaxRegression, assigned: Array, strengths: Sequence[float]
) -> Array:
    """Scores (strengths, n, classes), each strength starting where the weaker one ended."""
    scores = np.zeros((len(strengths), *problem.targets.shape))
    for fold in fold_numbers(assigned):
        out, solution = np.flatnonzero(assigned == fold), None
        for index, strength in enumerate(strengths):
            # Only the ranking of the strengths depends on these solutions: ended early.
            solution = problem.solve(np.flatnonzero(assigned != fold), strength, solution, 1e-4)
            scores[index, out] = problem.scores(solution, out)
    return scores


def _log_loss(scores: Array, labels: Array) -> float:
    shifted = scores - scores.max(1, keepdims=True)
    log_sums = np.log(np.exp(shifted).sum(1))
    return float((log_sums - shifted[np.arange(len(labels)), labels]).mean())
