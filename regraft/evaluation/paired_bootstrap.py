"""How large is the gain? A 95 % interval of candidate - champion on the same examples."""

from __future__ import annotations

import numpy as np

from regraft.evaluation import bootstrap
from regraft.evaluation.bootstrap import REPLICATES
from regraft.evaluation.pairs import Pairs

_STRIDE = 7919  # between the seeds of cells


def paired_bootstrap(
    pairs: Pairs, *, replicates: int = REPLICATES, seed: int = 0
) -> dict[str, float]:
    """Interval of the metric's difference, each stratum (domain) weighing the same.

    Both models are resampled together, whole groups at a time, so what makes an example hard
    cancels out; each cell of a stratum is resampled by itself (Efron and Tibshirani, An
    Introduction to the Bootstrap, 1993, ch. 8). Returns difference, low, high (95 %) and p_better,
    the share of replicates in which the candidate is strictly better.
    """
    score = pairs.metric.score
    difference, drawn = 0.0, np.zeros(replicates)
    for stratum in range(pairs.n_strata):
        tallies = pairs.tallies(stratum)
        both, width = np.concatenate(tallies, axis=1), tallies[0].shape[1]
        sums = np.sum([
            bootstrap.resample(both[groups], replicates=replicates, seed=seed + _STRIDE * cell)
            for cell, groups in pairs.groups_of_cells(stratum)
        ], axis=0)  # fmt: skip
        drawn += score(sums[:, :width]) - score(sums[:, width:])
        difference += float(score(tallies[0].sum(axis=0)) - score(tallies[1].sum(axis=0)))
    drawn /= pairs.n_strata
    low, high = bootstrap.percentile_interval(drawn)
    return {
        "difference": difference / pairs.n_strata,
        "low": low,
        "high": high,
        "p_better": float((drawn > 0).mean()),
    }
