"""Has the mix of predicted classes, or the confidence, changed?

Without truth these are the nearest thing to performance: a class that becomes frequent, a class
that vanishes, answers that become doubtful.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from regraft.monitoring.monitors import Test
from regraft.monitoring.samples import Array, Sample


def tests(
    reference: Sample,
    window: Sample,
    *,
    min_label_shift: float,
    min_confidence_shift: float,
    permutations: int,
    seed: int = 0,
) -> list[Test]:
    """Predicted classes (chi-square by relabelling; total variation) and confidence
    (Kolmogorov-Smirnov). `reference` must be held-out answers: on its training rows a model is
    more confident than it will ever be."""
    return [
        label_test(reference, window, min_label_shift, permutations, seed),
        *_confidence_test(reference, window, min_confidence_shift),
    ]


def label_test(
    reference: Sample, window: Sample, min_effect: float, permutations: int, seed: int = 0
) -> Test:
    """Are predicted classes as frequent as in the reference?

    The effect is the total variation distance minus its mean under relabelling: between small
    samples, or with many classes, the plain distance is large without any shift.
    """
    counts = _counts(reference, window)
    pooled = counts.sum(0)
    null = np.random.default_rng(seed).multivariate_hypergeometric(
        pooled, int(counts[1].sum()), size=permutations
    )
    observed = counts[1][None]
    statistic = float(_chi_square(observed, pooled)[0])
    reached = int((_chi_square(null, pooled) >= statistic - 1e-9).sum())
    excess = _total_variation(observed, pooled)[0] - _total_variation(null, pooled).mean()
    return Test(
        monitor="predictions",
        name="predicted classes",
        statistic=statistic,
        p_value=(1 + reached) / (1 + permutations),
        effect=max(float(excess), 0.0),
        min_effect=min_effect,
        effect_name="total variation beyond chance",
    )


def _confidence_test(reference: Sample, window: Sample, min_effect: float) -> list[Test]:
    from scipy.stats import ks_2samp

    before, after = (s.rows["confidence"].to_numpy(np.float64) for s in (reference, window))
    before, after = before[np.isfinite(before)], after[np.isfinite(after)]
    if not len(before) or not len(after):
        return []
    found = ks_2samp(before, after)
    direction = "lower" if np.median(after) < np.median(before) else "higher"
    return [
        Test(
            monitor="predictions",
            name="confidence",
            statistic=float(found.statistic),
            p_value=float(found.pvalue),
            effect=float(found.statistic),
            min_effect=min_effect,
            effect_name="Kolmogorov-Smirnov distance",
            note=f"median {np.median(after):.2f}, {direction} than {np.median(before):.2f}",
        )
    ]


def _counts(reference: Sample, window: Sample) -> Array:
    """Answers per class, (2, classes): reference, window."""
    labels = pd.concat([reference.rows["label"], window.rows["label"]]).astype(str)
    codes = pd.factorize(labels)[0]
    width = int(codes.max()) + 1
    n = len(reference)
    return np.stack([np.bincount(part, minlength=width) for part in (codes[:n], codes[n:])])


def _chi_square(window: Array, pooled: Array) -> Array:
    """Chi-square (k,) of homogeneity from the window's counts (k, classes)."""
    m, total = window.sum(1, keepdims=True), pooled.sum()
    expected = pooled * m / total
    squares = ((window - expected) ** 2 / expected).sum(1)
    # The reference deviates by as much in the other direction.
    return np.asarray(squares * (1 + m[:, 0] / (total - m[:, 0])))


def _total_variation(window: Array, pooled: Array) -> Array:
    """Half the sum of absolute differences of class shares, (k,)."""
    m = window.sum(1, keepdims=True)
    rest = pooled - window
    return np.asarray(np.abs(window / m - rest / rest.sum(1, keepdims=True)).sum(1) / 2)
