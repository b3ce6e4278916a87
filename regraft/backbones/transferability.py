"""How well a frozen backbone's features suit a task, without training a head on them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from regraft.errors import UserError

MAX_STEPS = 500
TOLERANCE = 1e-6


def log_maximum_evidence(features: ArrayLike, labels: ArrayLike) -> float:
    """LogME of `features` (n, dim) for `labels` (n,); higher is better, comparable for one n.

    For each class, the 0/1 label is seen as drawn from Bayesian linear regression with prior
    precision alpha and noise precision beta; their evidence is maximised, divided by n and
    averaged over the classes. It does not change when all features are scaled by one factor.

    Source: You et al., "LogME: Practical Assessment of Pre-trained Models for Transfer Learning",
    ICML 2021; the fixed-point iteration on alpha / beta from You et al., "Ranking and Tuning
    Pre-trained Models", JMLR 2022.
    Raises UserError for unusable features, or labels of fewer than two classes.
    """
    x, targets = _checked(features, labels)
    left, singular, _ = np.linalg.svd(x, full_matrices=False)
    keep = singular > singular[0] * 1e-7
    variances = singular[keep, None] ** 2
    projections = (left[:, keep].T @ targets) ** 2
    beyond = np.maximum((targets**2).sum(0) - projections.sum(0), 0.0)
    ratio = _fixed_point(variances, projections, beyond, len(x))
    return float(_evidence(ratio, variances, projections, beyond, len(x)).mean() / len(x))


def _moments(
    ratio: NDArray[Any],
    variances: NDArray[Any],
    projections: NDArray[Any],
    beyond: NDArray[Any],
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Squared norm of the posterior mean and squared residual, each (classes,)."""
    weights = (variances * projections / (ratio + variances) ** 2).sum(0)
    residual = (projections * (ratio / (ratio + variances)) ** 2).sum(0) + beyond
    return weights, residual


def _fixed_point(
    variances: NDArray[Any], projections: NDArray[Any], beyond: NDArray[Any], n: int
) -> NDArray[Any]:
    """The alpha / beta of each class (classes,) at which the evidence is stationary."""
    # A ratio outside these bounds means "all noise" or "no noise": the evidence is flat beyond.
    low, high = variances.max() * 1e-9, variances.max() * 1e9
    ratio = np.full(projections.shape[1], variances.mean())
    for _ in range(MAX_STEPS):
        freedom = (variances / (variances + ratio)).sum(0)
        weights, residual = _moments(ratio, variances, projections, beyond)
        # alpha = freedom / weights, beta = (n - freedom) / residual; guarded for pure noise.
        updated = freedom * residual / np.maximum((n - freedom) * weights, 1e-300)
        updated = np.clip(updated, low, high)
        change = np.abs(np.log(updated / ratio)).max()
        ratio = updated
        if change < TOLERANCE:
            break
    return ratio


def _evidence(
    ratio: NDArray[Any],
    variances: NDArray[Any],
    projections: NDArray[Any],
    beyond: NDArray[Any],
    n: int,
) -> NDArray[Any]:
    """Log evidence of each class at its ratio, with the noise that maximises it given the ratio."""
    weights, residual = _moments(ratio, variances, projections, beyond)
    noise = np.maximum((residual + ratio * weights) / n, 1e-300)
    complexity = np.log1p(variances / ratio).sum(0)
    return np.asarray(-0.5 * (n * np.log(2 * np.pi * noise) + n + complexity))


def _checked(features: ArrayLike, labels: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
    """Features as float64 and one 0/1 column per class (n, classes)."""
    x, y = np.asarray(features, dtype=np.float64), np.asarray(labels)
    if x.ndim != 2 or y.shape != x.shape[:1]:
        raise UserError(
            "features and labels do not fit together",
            got=f"features {x.shape}, labels {y.shape}",
            expected="(n, dim) and (n,)",
        )
    if not np.isfinite(x).all() or not np.any(x):
        raise UserError(
            "features are all zero or hold NaN or infinite values",
            fix="check the backbone's weights",
        )
    classes, codes = np.unique(y, return_inverse=True)
    if len(classes) < 2:
        raise UserError("a ranking needs at least two classes", got=f"{len(classes)}")
    return x, np.eye(len(classes))[codes.ravel()]
