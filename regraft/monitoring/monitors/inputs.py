"""Have statistics of the inputs shifted (brightness, sharpness, sizes; lengths of texts)?

Evidently's normed Wasserstein distance of each statistic, with a p-value by relabelling: its fixed
threshold alone alarms on small samples without any shift.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from regraft.monitoring.monitors import Test
from regraft.monitoring.samples import STATISTIC, Array, Sample
from regraft.shift.column_statistics import wasserstein_tests

_FEWEST = 5


def tests(
    reference: Sample, window: Sample, *, min_effect: float, permutations: int, seed: int = 0
) -> list[Test]:
    """One test per statistic that both samples have; values that are not finite are left out."""
    found = []
    for columns, before, after in _complete(reference, window):
        scores, p_values = wasserstein_tests(before, after, permutations=permutations, seed=seed)
        found += [
            Test(
                monitor="inputs",
                name=column.removeprefix(STATISTIC),
                statistic=float(score),
                p_value=float(p_value),
                effect=float(score),
                min_effect=min_effect,
                effect_name="Wasserstein distance in standard deviations",
                note=_note(before[:, number]),
            )
            for number, (column, score, p_value) in enumerate(
                zip(columns, scores, p_values, strict=True)
            )
        ]
    return found


def _note(before: Array) -> str:
    """Where the reference has no spread, any other value is very many deviations away."""
    return "" if np.ptp(before) else f"always {before[0]:g} in the reference"


def _complete(reference: Sample, window: Sample) -> Iterator[tuple[list[str], Array, Array]]:
    """Columns and their values (rows, columns): those without a gap together, each other one alone
    without its gaps. What is missing the quality monitor names."""
    shared = [name for name in reference.statistics if name in window.rows.columns]
    sides = [sample.rows[shared].to_numpy(np.float64) for sample in (reference, window)]
    finite = [np.isfinite(values) for values in sides]
    whole = finite[0].all(0) & finite[1].all(0)
    groups = [np.flatnonzero(whole), *np.flatnonzero(~whole)[:, None]]
    for group in groups:
        before, after = (
            values[rows[:, group].all(1)][:, group]
            for values, rows in zip(sides, finite, strict=True)
        )
        if len(group) and min(len(before), len(after)) >= _FEWEST:
            yield [shared[k] for k in group], before, after
