"""Are two samples of feature vectors drawn from one distribution, and if not, how far apart?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from regraft.errors import UserError
from regraft.shift.cross_validation import assign_folds, fold_numbers

Array = NDArray[Any]

# Strong enough that twenty examples a side in `MAX_COMPONENTS` dimensions are not fitted by heart.
PENALTY_INVERSE = 0.1
MAX_COMPONENTS = 50


def mmd_permutation_test(
    a: ArrayLike,
    b: ArrayLike,
    *,
    permutations: int = 500,
    max_samples: int = 500,
    seed: int = 0,
) -> dict[str, float]:
    """Maximum mean discrepancy of `a` (n, dim) and `b` (m, dim), tested by relabelling.

    `statistic` is the unbiased MMD^2 under a Gaussian kernel whose bandwidth is the median
    distance (Gretton et al., JMLR 2012, eq. 3); it may fall below 0. `p_value` is the share of
    relabellings that reach it, itself included. `effect_size`, 0 to 1, is the share of the
    variance (in the kernel's space, both samples weighted alike) that lies between the samples:
    the R^2 of a one-way analysis of variance. At most `max_samples` rows of each are drawn.
    Examples must be independent: pass one per group of near-duplicates. Raises UserError for
    empty, one-row, unequal-width or non-finite samples.
    """
    x, y = checked_samples(a, b)
    rng = np.random.default_rng(seed)
    x, y = _at_most(x, max_samples, rng), _at_most(y, max_samples, rng)
    n, total = len(x), len(x) + len(y)
    kernel = _gaussian_kernel(np.concatenate([x, y]))
    members = np.zeros((total, permutations + 1))
    members[:n, 0] = 1
    for column in range(1, permutations + 1):
        members[rng.permutation(total)[:n], column] = 1
    within_a, within_b, between = _mean_similarities(kernel, members)
    values = within_a + within_b - 2 * between
    scatter = 1 - (within_a[0] + within_b[0]) / 2
    gain = max(values[0], 0.0) / 4
    # Relabellings that repeat the observed value must count, whatever the rounding.
    reached = int((values[1:] >= values[0] - 1e-12).sum())
    return {
        "statistic": float(values[0]),
        "p_value": (1 + reached) / (1 + permutations),
        "effect_size": float(gain / (gain + scatter)) if gain > 0 else 0.0,
    }


@dataclass(frozen=True)
class DomainClassifier:
    """How well a classifier tells two samples apart on examples it was not trained on.

    `auc` with its 95 % interval `low`, `high`; `reference_scores` (n,) and `current_scores` (m,)
    are out-of-fold, higher for what looks like the current sample, NaN for a row not scored.
    """

    auc: float
    low: float
    high: float
    reference_scores: Array
    current_scores: Array


def domain_classifier(
    a: ArrayLike,
    b: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    folds: int = 5,
    max_samples: int = 1000,
    seed: int = 0,
) -> DomainClassifier:
    """Cross-validated logistic regression that tells `a` (n, dim) from `b` (m, dim).

    Features are standardised and reduced to at most 50 principal components of both samples
    together, which uses no labels. `groups` (n + m,), first those of `a`, are never split between
    training and held-out part. At most `max_samples` rows of each sample are used.
    Sources: Lopez-Paz and Oquab, "Revisiting classifier two-sample tests", ICLR 2017; interval by
    Newcombe, Statistics in Medicine 25, 2006, method 5, with groups as the sample sizes. It takes
    the folds' classifiers as given; a verdict should also ask the permutation test.
    Raises UserError as `mmd_permutation_test`, or if nothing can be held out.
    """
    x, y = checked_samples(a, b)
    rng = np.random.default_rng(seed)
    rows_a, rows_b = (
        _some_rows(len(x), max_samples, rng),
        _some_rows(len(y), max_samples, rng),
    )
    rows = np.concatenate([rows_a, len(x) + rows_b])
    origin = (rows >= len(x)).astype(np.int64)
    chosen_groups = rows if groups is None else np.asarray(groups)[rows]
    components = principal_components(np.concatenate([x[rows_a], y[rows_b]]), MAX_COMPONENTS)
    assigned = assign_folds(origin, chosen_groups, folds=folds, seed=seed)
    scores = np.full(len(x) + len(y), np.nan)
    scores[rows] = _out_of_fold_scores(components, origin, assigned)
    value = _auc(scores[rows], origin)
    sizes = [len(np.unique(chosen_groups[origin == side])) for side in (0, 1)]
    low, high = auc_interval(value, *sizes)
    return DomainClassifier(value, low, high, scores[: len(x)], scores[len(x) :])


def auc_interval(auc: float, n: int, m: int) -> tuple[float, float]:
    """95 % interval of an AUC between `n` and `m` examples; not empty at 0 and 1.

    Newcombe (2006), method 5: the AUCs from which the observed one is 1.96 standard errors away,
    the error taken at that AUC.
    """
    from scipy.optimize import brentq

    star = (n + m) / 2 - 1

    def excess(true: float) -> float:
        spread = 1 + star * ((1 - true) / (2 - true) + true / (1 + true))
        return float((auc - true) ** 2 - 1.959964**2 * true * (1 - true) * spread / (n * m))

    edge = 1e-9  # at 0 and 1 the error vanishes, which is a root but not the bound
    low = 0.0 if auc <= edge else brentq(excess, 0.0, min(auc, 1 - edge))
    high = 1.0 if auc >= 1 - edge else brentq(excess, max(auc, edge), 1.0)
    return float(low), float(high)


def principal_components(x: Array, count: int) -> Array:
    """The first `count` principal components (n, <= count) of standardised `x` (n, dim).

    Scaled so that the first has variance 1. Constant columns are left out of account.
    """
    from scipy.linalg import eigh

    centred = np.asarray(x, dtype=np.float64) - x.mean(0)
    deviation = centred.std(0)
    centred /= np.where(deviation > 1e-12 * max(deviation.max(), 1e-300), deviation, np.inf)
    size = min(centred.shape)
    last = {"subset_by_index": [max(size - count, 0), size - 1]}
    if centred.shape[0] <= centred.shape[1]:
        values, vectors = eigh(centred @ centred.T, **last)
        components = vectors * np.sqrt(np.maximum(values, 0))
    else:
        values, vectors = eigh(centred.T @ centred, **last)
        components = centred @ vectors
    # An eigenvector's sign is arbitrary: fixed, so that pictures do not flip between machines.
    signs = np.sign(components[np.abs(components).argmax(0), np.arange(components.shape[1])])
    scale = max(math.sqrt(max(values[-1], 0.0) / len(x)), 1e-300)
    return np.asarray((components * np.where(signs == 0, 1, signs) / scale)[:, ::-1])


def checked_samples(a: ArrayLike, b: ArrayLike) -> tuple[Array, Array]:
    """Both as finite float64 matrices of one width and at least two rows; else UserError."""
    x, y = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1] or not x.shape[1]:
        raise UserError(
            "two samples cannot be compared",
            got=f"shapes {x.shape} and {y.shape}",
            expected="(n, dim) and (m, dim) with one dim",
        )
    if min(len(x), len(y)) < 2:
        raise UserError(
            "too few examples to compare two samples",
            got=f"{len(x)} and {len(y)}",
            expected="at least 2 of each",
        )
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise UserError(
            "features hold NaN or infinite values",
            fix="check the backbone and its weights",
        )
    return x, y


def _some_rows(n: int, limit: int, rng: np.random.Generator) -> Array:
    return np.arange(n) if n <= limit else np.sort(rng.choice(n, limit, replace=False))


def _at_most(x: Array, limit: int, rng: np.random.Generator) -> Array:
    return np.asarray(x[_some_rows(len(x), limit, rng)])


def _gaussian_kernel(x: Array) -> Array:
    """exp(-d^2 / (2 median^2)) with a zero diagonal; all 1 where every row is the same."""
    centred = x - x.mean(0)
    squares = (centred**2).sum(1)
    distances = np.maximum(squares[:, None] + squares - 2 * centred @ centred.T, 0)
    above = distances[np.triu_indices(len(x), 1)]
    above = above[above > 1e-12 * max(squares.max(), 1e-300)]
    kernel = np.exp(-distances / (2 * np.median(above))) if len(above) else np.ones_like(distances)
    np.fill_diagonal(kernel, 0)
    return np.asarray(kernel)


def _mean_similarities(kernel: Array, members: Array) -> tuple[Array, Array, Array]:
    """Mean kernel value within a, within b and between, for each column of 0/1 `members`.

    All permutations in one product of matrices: the sums over b follow from those over a.
    """
    n = members[:, 0].sum()
    m = len(kernel) - n
    sums_a = np.einsum("ij,ij->j", members, kernel @ members)
    between = kernel.sum(1) @ members - sums_a
    sums_b = kernel.sum() - 2 * between - sums_a
    return sums_a / (n * (n - 1)), sums_b / (m * (m - 1)), between / (n * m)


def _out_of_fold_scores(components: Array, origin: Array, assigned: Array) -> Array:
    """Log odds (n,) of coming from the current sample; NaN for rows that are never held out."""
    from sklearn.linear_model import LogisticRegression

    if min(len(np.unique(assigned[(origin == o) & (assigned >= 0)])) for o in (0, 1)) < 2:
        raise UserError(
            "too few independent examples to compare two samples",
            got="a sample that is one group of near-duplicates",
            expected="at least 2 groups in each sample",
        )
    scores = np.full(len(origin), np.nan)
    model = LogisticRegression(C=PENALTY_INVERSE, class_weight="balanced", max_iter=1000)
    for fold in fold_numbers(assigned):
        out = assigned == fold
        scores[out] = model.fit(components[~out], origin[~out]).decision_function(components[out])
    return scores


def _auc(scores: Array, origin: Array) -> float:
    """Probability that a current example outscores a reference one; ties count half."""
    from scipy.stats import rankdata

    seen = np.isfinite(scores)
    ranks, current = rankdata(scores[seen]), origin[seen] == 1
    m, n = int(current.sum()), int((~current).sum())
    return float((ranks[current].sum() - m * (m + 1) / 2) / (n * m))
