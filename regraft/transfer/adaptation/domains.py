"""Labelled source and unlabelled target features, and a weighted ridge regression on them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from regraft.backbones.heads import LinearHead

SOURCE, COMPOSED, TARGET = 0, 1, 2
"""Domains of a row: a source photo, its foreground on a target background, a target photo."""

_BIAS = 2.0  # value of the constant feature that stands for the bias: large, so hardly penalised
_TEMPERATURE = 0.15  # of scores near 0 and 1: a lead of 0.3 counts as 88 %


@dataclass(frozen=True)
class Domains:
    """Rows of features: views of source and target examples.

    Attributes
    ----------
    features : (rows, dim), of about unit length.
    domain : (rows,), SOURCE, COMPOSED or TARGET.
    example : (rows,), the number of the example a row is a view of, counted per side: source
        examples 0..s-1 (composed views belong to their source example), target examples 0..t-1.
    source_labels : (s,) class numbers.
    target_labels : (t,) class numbers, -1 where unknown.
    """

    features: np.ndarray
    domain: np.ndarray
    example: np.ndarray
    source_labels: np.ndarray
    target_labels: np.ndarray
    classes: int
    target_weight: float = 10.0

    @cached_property
    def labels(self) -> np.ndarray:
        """(rows,) known class number, -1 where unknown."""
        found = np.full(len(self.features), -1)
        target = self.domain == TARGET
        found[target] = self.target_labels[self.example[target]]
        found[~target] = self.source_labels[self.example[~target]]
        return found

    @cached_property
    def known(self) -> np.ndarray:
        """Numbers of the rows with a label."""
        return np.flatnonzero(self.labels >= 0)

    @cached_property
    def first_view(self) -> np.ndarray:
        """(rows,) True for the first view of each source and target photo."""
        found = np.zeros(len(self.features), bool)
        for domain in (SOURCE, TARGET):
            rows = np.flatnonzero(self.domain == domain)
            found[rows[np.unique(self.example[rows], return_index=True)[1]]] = True
        return found

    @cached_property
    def weights(self) -> np.ndarray:
        """(rows,): known source rows weigh 1 together, known target rows `target_weight`."""
        found = np.zeros(len(self.features))
        for side, total in (
            (self.domain != TARGET, 1.0),
            (self.domain == TARGET, self.target_weight),
        ):
            rows = side & (self.labels >= 0)
            found[rows] = total / max(rows.sum(), 1)
        return found

    @cached_property
    def gram(self) -> np.ndarray:
        """Inner products (rows, rows) of features with the constant."""
        x = self.features.astype(np.float32)
        return np.asarray(x @ x.T + _BIAS**2)

    def one_hot(self, rows: np.ndarray) -> np.ndarray:
        """Targets (len(rows), classes) of rows with a label."""
        return np.eye(self.classes)[self.labels[rows]]

    def scores(
        self, rows: np.ndarray, targets: np.ndarray, weights: np.ndarray, *, penalty: float
    ) -> np.ndarray:
        """Scores (all rows, classes) of a weighted ridge regression fitted on `rows`."""
        return (
            self.gram[:, rows] @ self._solution(rows, targets, weights, penalty) + 1 / self.classes
        )

    def head(
        self, rows: np.ndarray, targets: np.ndarray, weights: np.ndarray, *, penalty: float
    ) -> LinearHead:
        """The same regression as a linear head on the features."""
        solution = self._solution(rows, targets, weights, penalty)
        weight = solution.T @ self.features[rows]
        bias = _BIAS**2 * solution.sum(0) + 1 / self.classes
        return LinearHead(weight, bias, 1 / penalty)

    def target_scores(self, scores: np.ndarray) -> np.ndarray:
        """Scores (rows, classes) to means over the views of each target example, (t, classes)."""
        rows = np.flatnonzero(self.domain == TARGET)
        found = np.zeros((len(self.target_labels), self.classes))
        np.add.at(found, self.example[rows], scores[rows])
        views = np.bincount(self.example[rows], minlength=len(found))
        return np.asarray(found / views[:, None])

    def relabelled(self, target_labels: np.ndarray) -> Domains:
        """The same rows with other known target labels (t,). What follows from the features alone
        is computed once for both."""
        other = replace(self, target_labels=target_labels)
        other.__dict__["gram"] = self.gram
        return other

    def without_composed(self) -> Domains:
        """Only the photos as they are."""
        keep = self.domain != COMPOSED
        return replace(
            self, features=self.features[keep], domain=self.domain[keep], example=self.example[keep]
        )

    def _solution(
        self, rows: np.ndarray, targets: np.ndarray, weights: np.ndarray, penalty: float
    ) -> np.ndarray:
        """Dual coefficients (rows, classes): (W^1/2 K W^1/2 + penalty)^-1 in weighted form."""
        root = np.sqrt(weights / weights.mean()).astype(np.float32)[:, None]
        kernel = root * self.gram[np.ix_(rows, rows)] * root.T
        kernel[np.diag_indices(len(rows))] += penalty
        wanted = (root * (targets - 1 / self.classes)).astype(np.float32)
        return np.asarray(root * np.linalg.solve(kernel, wanted))


def probabilities(scores: np.ndarray) -> np.ndarray:
    """Scores (n, classes) of a regression on 0 and 1 to probabilities."""
    odds = np.exp((scores - scores.max(1, keepdims=True)) / _TEMPERATURE)
    return np.asarray(odds / odds.sum(1, keepdims=True))
