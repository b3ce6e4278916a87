"""Is the gain more than luck? An exact test where the bootstrap is too sure of itself.

The percentile bootstrap of a handful of examples is too narrow: three examples that the candidate
mended and none that it broke always make an interval above zero, though luck does that once in
eight times. If both models were equally good, each group's answers might as well have come from
the other one. Exchanging them at random tells how often luck makes a gain as large as the one seen
(Fisher, The Design of Experiments, 1935, ch. 3).

*Large* is measured against the spread of the gains within the cells (domain and class): a champion
that calls every field photo rust is right on all rust and on nothing else, and what differs so
between classes is no doubt about the gain. Any such studentised statistic keeps the level where the
answers are exchangeable, and nearly so where the models are equally accurate in another way
(Janssen, Statistics and Probability Letters 36:9, 1997; Chung and Romano, Annals of Statistics
41:484, 2013). Gains that only equal the one seen count half (mid-p): with one cell, one answer per
group and the accuracy this is the mid-p McNemar test, which keeps its level without wasting half of
it on ties (Fagerland, Lydersen and Laake, BMC Medical Research Methodology 13:91, 2013).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regraft.evaluation.bootstrap import Floats, Ints
from regraft.evaluation.pairs import Pairs

DRAWS = 20_000
_MOST_COMBINATIONS = 100_000
_MOST_OF_A_KIND = 1_000  # binomial coefficients beyond that take longer than drawing
_TIE = 1e-9
_DOUBT = 0.25
"""Added to the sum of squares of each cell: five like differences are no proof that all are."""


def sign_flip_test(pairs: Pairs, *, draws: int = DRAWS, seed: int = 0) -> dict[str, Any]:
    """One-sided mid-p-value of metric(candidate) - metric(champion), mean over the strata, in units
    of its standard error.

    Groups that differ in the same way are counted, not listed: all combinations are enumerated up
    to 100,000 (the usual case), beyond that `draws` of them are drawn. Returns p_value (at least
    1 / (draws + 1) when drawn), discordant (groups on which the models differ) and exact.
    """
    candidate, champion = (
        np.concatenate([pairs.tallies(s)[who] for s in range(pairs.n_strata)], axis=1)
        for who in (0, 1)
    )
    spread = _Spread(pairs)
    width = candidate.shape[1]
    differences = np.concatenate([candidate - champion, spread.columns], axis=1)
    kinds, counts = _kinds(differences[differences.any(axis=1)])
    both = (candidate + champion).sum(axis=0)

    def gains(changes: Floats) -> Floats:
        """(m, width and columns) sums of exchanged differences -> (m,) gains in standard errors."""
        own = changes[:, :width]
        gain = _gain(pairs, (both + own) / 2) - _gain(pairs, (both - own) / 2)
        return np.asarray(gain / spread.standard_errors(changes[:, width:]))

    seen = float(gains(differences.sum(axis=0, keepdims=True).astype(np.float64))[0])
    combinations = math.prod(int(count) + 1 for count in counts)
    exact = combinations <= _MOST_COMBINATIONS and bool((counts <= _MOST_OF_A_KIND).all())
    if exact:
        flips, weights = _every_combination(counts)
    else:
        drawn = np.random.default_rng(seed).binomial(counts, 0.5, (draws, len(counts)))
        flips = 2 * drawn.astype(np.float64) - counts
        weights = np.full(draws, 1.0 / (draws + 1))
    made = gains(flips @ kinds)
    larger, equal = (float(weights[rows].sum()) for rows in _larger_and_equal(made, seen))
    p_value = larger + equal / 2
    return {
        "p_value": p_value if exact else p_value + 1 / (draws + 1),
        "discordant": int(counts.sum()),
        "exact": exact,
    }


class _Spread:
    """How much the gains in hits vary within the cells, whatever is exchanged.

    With x the difference in hits of a group of size n and R = sum(x) / sum(n) that of its cell, the
    squared residuals sum(x - R n)^2 = sum(x^2) - 2 R sum(x n) + R^2 sum(n^2) need of an exchange
    only sum(x) and sum(x n): `columns` (groups, 2 cells).
    """

    def __init__(self, pairs: Pairs) -> None:
        groups, cells = int(pairs.codes.max()) + 1, int(pairs.cells.max()) + 1
        place = pairs.codes * cells + pairs.cells

        def per_group(weights: NDArray[Any]) -> Ints:
            counted = np.bincount(place, weights, minlength=groups * cells)
            return counted.reshape(groups, cells).astype(np.int64)

        right = (pairs.candidate == pairs.truth).astype(int) - (pairs.champion == pairs.truth)
        x, n = per_group(right), per_group(np.ones(len(right)))
        self.columns = np.concatenate([x, x * n], axis=1)
        self._squares, self._sizes = (x**2).sum(axis=0), n.sum(axis=0)
        self._squared_sizes = (n**2).sum(axis=0)
        stratum = np.zeros(cells, dtype=np.int64)
        stratum[pairs.cells] = pairs.strata
        rows = np.bincount(pairs.strata)
        self._weights = 1.0 / (pairs.n_strata * rows[stratum]) ** 2

    def standard_errors(self, sums: Floats) -> Floats:
        """(m, 2 cells) sums of the columns after exchanges -> (m,)."""
        x, xn = np.split(sums, 2, axis=1)
        rate = x / self._sizes
        residuals = self._squares - 2 * rate * xn + rate**2 * self._squared_sizes
        return np.asarray(np.sqrt((residuals + _DOUBT) @ self._weights))


def _larger_and_equal(gains: Floats, seen: float) -> tuple[NDArray[Any], NDArray[Any]]:
    return gains > seen + _TIE, np.abs(gains - seen) <= _TIE


def _gain(pairs: Pairs, tallies: NDArray[Any]) -> Floats:
    parts = np.split(tallies, pairs.n_strata, axis=1)
    return np.asarray(np.mean([pairs.metric.score(part) for part in parts], axis=0))


def _kinds(differences: Ints) -> tuple[Floats, Ints]:
    """Distinct differences up to their sign, (k, width), and how many groups have each, (k,)."""
    if not len(differences):
        return np.zeros((0, differences.shape[1])), np.zeros(0, dtype=np.int64)
    first = (differences != 0).argmax(axis=1)
    signs = np.sign(differences[np.arange(len(differences)), first])
    kinds, counts = np.unique(differences * signs[:, None], axis=0, return_counts=True)
    return kinds.astype(np.float64), counts.astype(np.int64)


def _every_combination(counts: Ints) -> tuple[Floats, Floats]:
    """Sums of signs of each kind, (m, k), and the probability of each combination, (m,)."""
    sums = [2.0 * np.arange(count + 1) - count for count in counts.tolist()]
    shares = [
        np.array([math.comb(count, j) / 2**count for j in range(count + 1)])
        for count in counts.tolist()
    ]
    if not sums:
        return np.zeros((1, 0)), np.ones(1)
    grid = np.stack([axis.ravel() for axis in np.meshgrid(*sums, indexing="ij")], axis=1)
    odds = np.meshgrid(*shares, indexing="ij")
    return grid, np.prod([axis.ravel() for axis in odds], axis=0)
