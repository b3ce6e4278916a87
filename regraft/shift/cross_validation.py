"""Folds for small, grouped samples."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

NEVER_HELD_OUT = -1


def assign_folds(
    labels: ArrayLike, groups: ArrayLike | None = None, *, folds: int = 5, seed: int = 0
) -> NDArray[np.int64]:
    """Fold number of every example: stratified by class, groups kept whole, seeded.

    The number of folds shrinks to the largest number of groups that any class has. A class with
    two or more groups is spread over at least two folds, so it is never absent from a training
    part; a class with a single group gets `NEVER_HELD_OUT` (-1) and trains in every fold.
    A group that holds several classes counts for the class most frequent in it; where most do, like
    speakers who say every word, and few they are, they are dealt by size. One that holds all there
    is of a class is never held out.

    >>> sorted(assign_folds([0, 0, 1, 1, 1, 2], folds=3).tolist())
    [-1, 0, 0, 1, 2, 2]
    """
    codes = np.unique(np.asarray(labels), return_inverse=True)[1].ravel()
    n = len(codes)
    if not n:
        return np.empty(0, np.int64)
    group_codes = np.arange(n) if groups is None else _codes(groups)
    table = np.zeros((int(group_codes.max()) + 1, int(codes.max()) + 1), int)
    np.add.at(table, (group_codes, codes), 1)
    return _deal(table, folds, np.random.default_rng(seed))[group_codes]


def _codes(values: ArrayLike) -> NDArray[np.int64]:
    return np.unique(np.asarray(values), return_inverse=True)[1].ravel().astype(np.int64)


def _deal(table: NDArray[np.int64], folds: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Fold of each row (group) of `table` (groups, classes)."""
    owner = table.argmax(1)
    per_class = np.bincount(owner, minlength=table.shape[1])
    stratified = min(folds, int(per_class.max(initial=0)))
    whole = min(folds, len(table))
    if stratified < whole and ((table > 0).sum(1) > 1).mean() > 0.5:
        result = _dealt_whole(table, whole, rng)
    else:
        result = _dealt_by_class(table, owner, stratified, rng)
    for fold in fold_numbers(result):
        alone = ~(table[result != fold] > 0).any(0)
        result[(result == fold) & (table[:, alone] > 0).any(1)] = NEVER_HELD_OUT
    return result


def _dealt_by_class(
    table: NDArray[np.int64], owner: NDArray[np.int64], folds: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """The groups of one class after those of another, larger groups first."""
    result = np.full(len(table), NEVER_HELD_OUT, np.int64)
    if folds < 2:
        return result
    total = np.zeros(folds, int)
    for label in np.flatnonzero(np.bincount(owner, minlength=table.shape[1]) >= 2):
        filled = np.zeros(folds, int)
        members = rng.permutation(np.flatnonzero(owner == label))
        for group in members[np.argsort(-table[members].sum(1), kind="stable")]:
            fold = int(np.lexsort((rng.random(folds), total, filled))[0])
            result[group] = fold
            filled[fold] += table[group].sum()
            total[fold] += table[group].sum()
    return result


def _dealt_whole(
    table: NDArray[np.int64], folds: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Each group into the fold with the fewest examples, larger groups first."""
    result = np.empty(len(table), np.int64)
    filled = np.zeros(folds, int)
    members = rng.permutation(len(table))
    for group in members[np.argsort(-table[members].sum(1), kind="stable")]:
        result[group] = int(filled.argmin())
        filled[result[group]] += table[group].sum()
    return result


def fold_numbers(assigned: NDArray[Any]) -> list[int]:
    """The folds that hold something out, in order."""
    return [int(fold) for fold in np.unique(assigned) if fold != NEVER_HELD_OUT]


def wilson_interval(share: float, n: int) -> tuple[float, float]:
    """95 % interval of a proportion `share` seen in `n` independent trials (Wilson, 1927)."""
    z = 1.959963984540054
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * (share * (1 - share) / n + z * z / (4 * n * n)) ** 0.5
    # Rounding must not leave `share` itself outside at 0 and 1.
    return max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half))
