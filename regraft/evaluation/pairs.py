"""Two models' answers to the same labelled examples, as the gate's statistics read them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from regraft.errors import UserError
from regraft.evaluation import bootstrap
from regraft.evaluation.bootstrap import Floats, Ints
from regraft.evaluation.metrics import check_labels, check_probabilities

FEWEST_IN_CELL = 5
"""Classes with fewer independent examples in a domain are counted together."""
FEWEST_GROUPS = 6
"""Fewer independent examples are not worth a comparison: four in a row are luck once in 16 times. A
domain with fewer does not get a vote of its own either."""


@dataclass(frozen=True)
class Metric:
    """A figure as a function of tallies that add up: (..., width) -> (...)."""

    tallies: Callable[[Ints, Ints, Ints, int], Ints]
    score: Callable[[NDArray[Any]], Floats]


def _hits(labels: Ints, predicted: Ints, codes: Ints, classes: int) -> Ints:
    """Right answers and examples of each group: (G, 2). Two different mistakes are no difference
    between models that are compared by accuracy."""
    groups = int(codes.max()) + 1
    right = np.bincount(codes[labels == predicted], minlength=groups)
    return np.stack([right, np.bincount(codes, minlength=groups)], axis=1).astype(np.int64)


def _share(tallies: NDArray[Any]) -> Floats:
    return np.asarray(tallies[..., 0] / tallies[..., 1], dtype=np.float64)


METRICS = {
    "accuracy": Metric(_hits, _share),
    "macro_f1": Metric(bootstrap.class_tallies, bootstrap.macro_f1_of),
}


@dataclass(frozen=True)
class Pairs:
    """What both models answered: class numbers `truth`, `candidate` and `champion`, group numbers
    `codes`, stratum numbers `strata` and numbers of the `cells` within them whose examples vary
    among each other, each (n,)."""

    truth: Ints
    candidate: Ints
    champion: Ints
    codes: Ints
    strata: Ints
    cells: Ints
    metric: Metric

    def tallies(self, stratum: int) -> tuple[Ints, Ints]:
        """Tallies (G, width) of candidate and champion in one stratum, one row per group of all
        strata (zeros where a group has no example in it)."""
        mine = self.strata == stratum
        classes = 1 + int(max(self.truth.max(), self.candidate.max(), self.champion.max()))
        groups = int(self.codes.max()) + 1
        made = []
        for predicted in (self.candidate, self.champion):
            own = self.metric.tallies(self.truth[mine], predicted[mine], self.codes[mine], classes)
            made.append(np.concatenate([own, np.zeros((groups - len(own), own.shape[1]), int)]))
        return made[0], made[1]

    def groups_of_cells(self, stratum: int) -> Iterator[tuple[int, Ints]]:
        """The cells of a stratum, each with the numbers of its groups."""
        for cell in np.unique(self.cells[self.strata == stratum]):
            yield int(cell), np.unique(self.codes[self.cells == cell])

    @property
    def n_strata(self) -> int:
        return int(self.strata.max()) + 1


def pair(
    labels: ArrayLike,
    candidate: ArrayLike,
    champion: ArrayLike,
    *,
    groups: ArrayLike | Sequence[Any] | None = None,
    domains: Sequence[Any] | None = None,
    by_class: bool = False,
    metric: str = "accuracy",
) -> Pairs:
    """Check and pair the answers of two models.

    `labels` (n,) are class numbers; `candidate` and `champion` are probabilities (n, classes) or
    predicted class numbers (n,). `groups` are what is independent (near-duplicates are one).
    `domains` become strata that weigh the same; one with fewer than `FEWEST_GROUPS` groups is
    pooled with the largest. With `by_class` each class of a stratum is a cell of its own: how many
    examples of each there are was decided by whoever drew the test set, not by chance.

    Raises UserError for empty, NaN or mismatching input and for fewer than two groups: one group
    has no spread, and an interval without width would always promote.
    """
    if metric not in METRICS:
        raise ValueError(f"metric is one of {', '.join(METRICS)}, got {metric!r}")
    truth = _class_numbers(labels, "labels")
    codes = bootstrap.group_codes(groups, len(truth))
    strata = _strata(domains, codes)
    made = Pairs(
        truth,
        _predicted(candidate, truth, "candidate"),
        _predicted(champion, truth, "champion"),
        codes,
        strata,
        _cells(truth, codes, strata) if by_class else strata,
        METRICS[metric],
    )
    if codes.max() == 0:
        raise UserError(
            "two models cannot be compared on one group of examples",
            got=f"{len(truth)} examples in 1 group",
            expected="at least 2 groups",
            fix="use a larger test split",
        )
    return made


def _strata(domains: Sequence[Any] | None, codes: Ints) -> Ints:
    if domains is None:
        return np.zeros(len(codes), dtype=np.int64)
    names = np.asarray(domains, dtype=str)
    if len(names) != len(codes):
        raise UserError(
            "domains do not match the examples", got=str(len(names)), expected=str(len(codes))
        )
    independent = {name: len(np.unique(codes[names == name])) for name in np.unique(names)}
    largest = max(independent, key=lambda name: independent[name])
    small = [name for name, count in independent.items() if count < FEWEST_GROUPS]
    return np.unique(
        np.where(np.isin(names, small), largest, names), return_inverse=True
    )[1].astype(np.int64)  # fmt: skip


def _cells(truth: Ints, codes: Ints, strata: Ints) -> Ints:
    """One per stratum and class, numbered; a stratum's classes with few groups share one. A group
    counts where the first of its examples in the stratum does."""
    pairs, where = np.unique(np.stack([strata, codes]), axis=1, return_inverse=True)
    first = np.unique(where, return_index=True)[1]
    label, stratum = truth[first], pairs[0]
    for number in np.unique(stratum):
        here = stratum == number
        classes, counts = np.unique(label[here], return_counts=True)
        label[here & np.isin(label, classes[counts < FEWEST_IN_CELL])] = -1
    own = np.unique(np.stack([stratum, label]), axis=1, return_inverse=True)[1]
    return np.asarray(own[where], dtype=np.int64)


def _predicted(output: ArrayLike, truth: Ints, who: str) -> Ints:
    values = np.asarray(output)
    if values.ndim == 2:
        scores = check_probabilities(values)
        check_labels(truth, scores)
        return scores.argmax(axis=1)
    numbers = _class_numbers(values, f"predictions of the {who}")
    if len(numbers) != len(truth):
        raise UserError(
            f"the {who} was not scored on the same examples",
            got=f"{len(numbers)} predictions",
            expected=f"{len(truth)}",
        )
    return numbers


def _class_numbers(values: ArrayLike, what: str) -> Ints:
    raw = np.asarray(values)
    if raw.ndim != 1 or not len(raw):
        raise UserError(f"{what}: nothing to compare", got=f"shape {raw.shape}", expected="(n,)")
    if raw.dtype.kind not in "iuf" or not np.isfinite(raw).all() or (raw != np.floor(raw)).any():
        raise UserError(f"{what}: not class numbers", expected="whole numbers, no NaN")
    if raw.min() < 0:
        raise UserError(f"{what}: not class numbers", got=f"{raw.min()}", expected="0 and above")
    return raw.astype(np.int64)
