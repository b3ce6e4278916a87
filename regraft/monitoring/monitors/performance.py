"""Where the truth is known: is the champion still as accurate as on its held-out examples?

Domains are compared within themselves: a model that knows lab and field is expected to be as good
on a window of field photos as it was on field photos.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from regraft.monitoring.monitors import Test
from regraft.monitoring.samples import Array, Sample
from regraft.shift.cross_validation import wilson_interval


def tests(
    reference: Sample,
    window: Sample,
    *,
    min_effect: float,
    enough_labels: int,
    permutations: int,
    seed: int = 0,
) -> tuple[list[Test], str]:
    """One test of the fall of accuracy, or none and why.

    The p-value is one-sided, by relabelling within the domains (column `domain` of both samples);
    with one domain that is Fisher's exact test. The interval of the fall combines Wilson intervals
    (MOVER; Newcombe, Statistics in Medicine 17, 1998, method 10, with weights).
    """
    before, after = _hits(reference), _hits(window)
    known = before["domain"].unique()
    after = after[after["domain"].isin(known)]
    if len(after) < enough_labels:
        return [], f"{len(after)} answers have a known truth, {enough_labels} are needed"
    tallies = _tallies(before, after)
    expected = float((tallies[:, 1] / tallies[:, 0]) @ tallies[:, 2] / len(after))
    fall = expected - float(after["hit"].mean())
    reached = (_relabelled_falls(tallies, permutations, seed) >= fall - 1e-9).sum()
    return [
        Test(
            monitor="performance",
            name="accuracy",
            statistic=float(after["hit"].mean()),
            p_value=(1 + int(reached)) / (1 + permutations),
            effect=fall,
            min_effect=min_effect,
            effect_name="fall of accuracy",
            interval=_interval(tallies, fall),
            note=f"{after['hit'].mean():.1%} of {len(after)} labelled answers, "
            f"{expected:.1%} expected",
        )
    ], ""


def _hits(sample: Sample) -> pd.DataFrame:
    rows = sample.rows[sample.rows["truth"].notna()]
    hit = rows["label"].astype(str) == rows["truth"].astype(str)
    return pd.DataFrame({"hit": hit.to_numpy(bool), "domain": rows["domain"].to_numpy()})


def _tallies(before: pd.DataFrame, after: pd.DataFrame) -> Array:
    """(domains, 4) of those in the window: reference rows, hits; window rows, hits."""
    columns = [side.groupby("domain")["hit"].agg(["size", "sum"]) for side in (before, after)]
    return (
        columns[1]
        .join(columns[0], rsuffix="_before")[["size_before", "sum_before", "size", "sum"]]
        .to_numpy(np.int64)
    )


def _relabelled_falls(tallies: Array, permutations: int, seed: int) -> Array:
    rng = np.random.default_rng(seed)
    m = tallies[:, 2].sum()
    falls = np.zeros(permutations)
    for n, hits, n_window, hits_window in tallies:
        pooled = hits + hits_window
        drawn = rng.hypergeometric(pooled, n + n_window - pooled, n_window, size=permutations)
        falls += (n_window * (pooled - drawn) / n - drawn) / m
    return falls


def _interval(tallies: Array, fall: float) -> tuple[float, float]:
    m = tallies[:, 2].sum()
    now = tallies[:, 3].sum() / m
    now_low, now_high = wilson_interval(float(now), int(m))
    below = above = 0.0
    for n, hits, n_window, _ in tallies:
        low, high = wilson_interval(float(hits / n), int(n))
        below += (n_window / m * (hits / n - low)) ** 2
        above += (n_window / m * (high - hits / n)) ** 2
    return (
        float(fall - np.sqrt(below + (now_high - now) ** 2)),
        float(fall + np.sqrt(above + (now - now_low) ** 2)),
    )
