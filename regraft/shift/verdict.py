"""From measured differences to one yes or no that a pipeline may branch on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from regraft.errors import UserError
from regraft.shift.two_sample import (
    auc_interval,
    checked_samples,
    domain_classifier,
    mmd_permutation_test,
    principal_components,
)

Array = NDArray[Any]
ALPHA = 0.05
MIN_AUC = 0.7
OVERLAY_POINTS = 500
MOST_SHIFTED = 12


def detect_shift(
    reference_features: ArrayLike,
    current_features: ArrayLike,
    *,
    reference: str = "reference",
    current: str = "current",
    reference_stats: pd.DataFrame | None = None,
    current_stats: pd.DataFrame | None = None,
    groups: Sequence[Any] | Array | None = None,
    ids: Sequence[str] | None = None,
    html: Path | None = None,
    alpha: float = ALPHA,
    min_auc: float = MIN_AUC,
    seed: int = 0,
) -> dict[str, Any]:
    """Compare features (n, dim) of a reference with those (m, dim) of a current sample.

    Shifted means significant and large: MMD p-value at most `alpha`, the AUC's interval above
    0.5, and the AUC at least `min_auc`. `groups` (n + m,), first those of the reference, mark
    near-duplicates, which count once. `ids` (m,) name the current examples, of which the twelve
    most unlike the reference are returned. Statistics tables add tests by column, which inform
    but do not decide, and evidently's report at `html`.
    Returns one entry of `comparisons` in shift.json: plain, finite values only.
    Raises UserError if an input is empty, not finite, or so small that even samples that have
    nothing in common could not be told apart.
    """
    x, y = checked_samples(reference_features, current_features)
    if ids is not None and len(ids) != len(y):
        raise UserError(
            "ids do not fit the current sample", got=str(len(ids)), expected=str(len(y))
        )
    sides = _groups_by_side(groups, len(x), len(y))
    _require_power(len(np.unique(sides[0])), len(np.unique(sides[1])), alpha)
    rng = np.random.default_rng(seed)
    single_x, single_y = (f[_one_per_group(g, rng)] for f, g in zip((x, y), sides, strict=True))
    mmd = mmd_permutation_test(single_x, single_y, seed=seed)
    classifier = domain_classifier(x, y, groups=np.concatenate(sides), seed=seed)
    measured = {"auc": classifier.auc, "low": classifier.low, "high": classifier.high}
    return {
        "name": f"{reference} vs {current}",
        "reference": reference,
        "current": current,
        "n_reference": len(x),
        "n_current": len(y),
        "mmd": mmd,
        "classifier": measured,
        "image_statistics": _column_tests(reference_stats, current_stats, html, alpha, seed),
        "shifted": is_shifted(mmd, measured, alpha=alpha, min_auc=min_auc),
        "overlay": overlay(x, y, seed=seed),
        "most_shifted": _most_shifted(classifier.current_scores, ids),
    }


def is_shifted(
    mmd: dict[str, float],
    classifier: dict[str, float],
    *,
    alpha: float = ALPHA,
    min_auc: float = MIN_AUC,
) -> bool:
    """Significant by both tests and at least `min_auc` apart. Raises UserError on NaN."""
    values = (mmd["p_value"], classifier["low"], classifier["auc"], alpha, min_auc)
    if not np.isfinite(values).all():
        raise UserError("a shift cannot be judged by NaN", got=str(values))
    significant = mmd["p_value"] <= alpha and classifier["low"] > 0.5
    return bool(significant and classifier["auc"] >= min_auc)


def summarise(comparisons: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """{"shifted": any of them shifted, "reason": one sentence}; UserError if there is none."""
    if not comparisons:
        raise UserError("nothing was compared, so there is no verdict on shift")
    shifted = [c for c in comparisons if c["shifted"]]
    told = max(shifted or comparisons, key=lambda c: c["classifier"]["auc"])
    auc, low, high = (told["classifier"][key] for key in ("auc", "low", "high"))
    evidence = (
        f"domain classifier AUC {auc:.2f} [{low:.2f}, {high:.2f}], MMD p = "
        f"{told['mmd']['p_value']:.3f}, share of variance {told['mmd']['effect_size']:.3f}"
    )
    if not shifted:
        return {
            "shifted": False,
            "reason": f"no shift; largest in {told['name']}: {evidence}",
        }
    also = [c["name"] for c in shifted if c is not told]
    others = f"; also {', '.join(also)}" if also else ""
    return {"shifted": True, "reason": f"{told['name']} shifted: {evidence}{others}"}


def overlay(
    reference_features: ArrayLike, current_features: ArrayLike, *, seed: int = 0
) -> dict[str, list[list[float]]]:
    """Both samples, at most 500 points each, on the two principal axes of their union."""
    rng = np.random.default_rng(seed)
    drawn = [
        f[np.sort(rng.permutation(len(f))[:OVERLAY_POINTS])]
        for f in checked_samples(reference_features, current_features)
    ]
    points = principal_components(np.concatenate(drawn), 2)
    points = np.pad(points, ((0, 0), (0, 2 - points.shape[1])))
    n = len(drawn[0])
    return {
        "reference": np.round(points[:n], 3).tolist(),
        "current": np.round(points[n:], 3).tolist(),
    }


def _groups_by_side(groups: Sequence[Any] | Array | None, n: int, m: int) -> tuple[Array, Array]:
    codes = np.arange(n + m)
    if groups is not None:
        if len(groups) != n + m:
            raise UserError(
                "groups do not fit the two samples",
                got=str(len(groups)),
                expected=str(n + m),
            )
        codes = np.unique(np.asarray(groups), return_inverse=True)[1].ravel()
    return codes[:n], codes[n:]


def _require_power(n: int, m: int, alpha: float) -> None:
    # If n = m, a relabelling that swaps the samples has the same statistic, so two count.
    smallest_p = (2 if n == m else 1) / math.comb(n + m, n)
    if smallest_p > alpha or auc_interval(1.0, n, m)[0] <= 0.5:
        raise UserError(
            "too few independent examples for a verdict on shift",
            got=f"{n} and {m}",
            expected="enough that a perfect separation would be significant (about 4 of each)",
            fix="compare larger samples",
        )


def _one_per_group(groups: Array, rng: np.random.Generator) -> Array:
    """Row numbers, one drawn from each group: a permutation test needs independent examples."""
    order = rng.permutation(len(groups))
    return np.sort(order[np.unique(groups[order], return_index=True)[1]])


def _column_tests(
    reference: pd.DataFrame | None,
    current: pd.DataFrame | None,
    html: Path | None,
    alpha: float,
    seed: int,
) -> list[dict[str, Any]]:
    if reference is None or current is None:
        return []
    from regraft.shift.column_statistics import compare_columns

    return compare_columns(reference, current, html=html, alpha=alpha, seed=seed)


def _most_shifted(scores: Array, ids: Sequence[str] | None) -> list[str]:
    if ids is None:
        return []
    order = np.argsort(-scores, kind="stable")  # NaN (not scored) sorts last
    return [str(ids[i]) for i in order[:MOST_SHIFTED] if np.isfinite(scores[i])]
