"""Have statistics of the inputs shifted (brightness, sharpness, sizes; lengths of texts)?

Evidently's normed Wasserstein distance of each statistic, with a p-value by relabelling: its fixed
threshold alone alarms on small samples without any shift.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from regraft.monitoring.monitors import Test
from regraft.monitoring.samples import STATISTIC, Sample
from regraft.shift.column_statistics import wasserstein_test

_FEWEST = 5


def tests(
    reference: Sample, window: Sample, *, min_effect: float, permutations: int, seed: int = 0
) -> list[Test]:
    """One test per statistic that both samples have; values that are not finite are left out."""
    shared = [name for name in reference.statistics if name in window.rows.columns]
    return list(_tests(reference, window, shared, min_effect, permutations, seed))


def _tests(
    reference: Sample,
    window: Sample,
    shared: list[str],
    min_effect: float,
    permutations: int,
    seed: int,
) -> Iterator[Test]:
    for column in shared:
        before, after = (s.rows[column].to_numpy(np.float64) for s in (reference, window))
        before, after = before[np.isfinite(before)], after[np.isfinite(after)]
        if min(len(before), len(after)) < _FEWEST:
            continue  # the quality monitor names what is missing
        score, p_value = wasserstein_test(before, after, permutations=permutations, seed=seed)
        yield Test(
            monitor="inputs",
            name=column.removeprefix(STATISTIC),
            statistic=score,
            p_value=p_value,
            effect=score,
            min_effect=min_effect,
            effect_name="Wasserstein distance in standard deviations",
        )
