"""Few-shot episodes on cached features: N ways, K shots, how good is each head?

An episode draws N classes, K labelled examples of each (the support, on which a head is fitted)
and some others of each (the query, on which it answers): Snell et al., NeurIPS 2017, section 3.1;
the interval over episodes as in Triantafillou et al., ICLR 2020, section 4. Near-duplicates never
lie on both sides: a group with a support example gives no query.

>>> labels = np.repeat([0, 1, 2], 6)
>>> one = next(draw(labels, np.arange(18), ways=2, shots=1, queries=5, episodes=1, seed=0))
>>> len(one.support), len(one.query), len(set(labels[one.support]))
(2, 10, 2)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from regraft.backbones.heads import KINDS, Head
from regraft.errors import UserError

SHOTS = (1, 5, 10, 20, 100)
Fit = Callable[[np.ndarray, np.ndarray], Head]


@dataclass(frozen=True)
class Episode:
    """Row numbers of the support (ways * shots,) and of the query."""

    support: np.ndarray
    query: np.ndarray


def draw(
    labels: ArrayLike,
    groups: ArrayLike,
    *,
    ways: int,
    shots: int,
    queries: int,
    episodes: int,
    seed: int,
) -> Iterator[Episode]:
    """Episodes of `ways` classes with `shots` support rows and at most `queries` query rows each.

    A class takes part if it can give `shots` rows and a query row of another group. Raises
    UserError when fewer than `ways` classes can.
    """
    y, g = np.asarray(labels), np.unique(np.asarray(groups), return_inverse=True)[1].ravel()
    able = [label for label in np.unique(y) if _can_give(g[y == label], shots)]
    if len(able) < ways:
        raise UserError(
            f"too few examples for episodes of {ways} classes with {shots} shots",
            got=f"{len(able)} classes with enough examples",
            expected=f"{ways} classes with {shots} examples and another independent one",
            fix="fewer ways or shots",
        )
    rng = np.random.default_rng(seed)
    for _ in range(episodes):
        yield _episode(y, g, rng.choice(able, ways, replace=False), shots, queries, rng)


def few_shot_accuracy(
    features: np.ndarray,
    labels: ArrayLike,
    groups: ArrayLike,
    *,
    heads: Mapping[str, Fit] = KINDS,
    ways: int = 5,
    shots: Sequence[int] = SHOTS,
    queries: int = 15,
    episodes: int = 100,
    seed: int = 0,
) -> dict[str, dict[int, dict[str, float]]]:
    """Accuracy of every head: {head: {shots: {accuracy, low, high, episodes}}}.

    The interval is mean +- 1.96 standard errors over the episodes, which share their examples: it
    says how well this sample of classes and examples is averaged, not what another would give. All
    heads meet the same episodes. Shots for which the examples do not suffice are left out.
    """
    y = np.asarray(labels)
    result: dict[str, dict[int, dict[str, float]]] = {name: {} for name in heads}
    for count in shots:
        try:
            drawn = list(
                draw(y, groups, ways=ways, shots=count, queries=queries, episodes=episodes,
                     seed=seed)
            )  # fmt: skip
        except UserError:
            continue
        for name, fit in heads.items():
            result[name][count] = _summary([_accuracy(fit, features, y, one) for one in drawn])
    return result


def _accuracy(fit: Fit, features: np.ndarray, labels: np.ndarray, episode: Episode) -> float:
    _, known = np.unique(labels[episode.support], return_inverse=True)
    names = np.unique(labels[episode.support])
    logits = fit(features[episode.support], known).logits(features[episode.query])
    return float((names[logits.argmax(1)] == labels[episode.query]).mean())


def _summary(accuracies: list[float]) -> dict[str, Any]:
    values = np.asarray(accuracies)
    mean = float(values.mean())
    half = 1.96 * float(values.std(ddof=1)) / len(values) ** 0.5 if len(values) > 1 else 1.0
    return {
        "accuracy": mean,
        "low": max(0.0, mean - half),
        "high": min(1.0, mean + half),
        "episodes": len(values),
    }


def _can_give(groups: np.ndarray, shots: int) -> bool:
    """Whether some choice of whole groups has `shots` rows and leaves another group."""
    sizes = np.sort(np.bincount(groups))[::-1]
    return bool((sizes > 0).sum() > 1 and sizes[sizes > 0][:-1].sum() >= shots)


def _episode(
    labels: np.ndarray,
    groups: np.ndarray,
    classes: np.ndarray,
    shots: int,
    queries: int,
    rng: np.random.Generator,
) -> Episode:
    support = np.concatenate(
        [_support(np.flatnonzero(labels == c), groups, shots, rng) for c in classes]
    )
    free = ~np.isin(groups, groups[support])
    query = [
        rng.permutation(np.flatnonzero((labels == label) & free))[:queries] for label in classes
    ]
    return Episode(support, np.concatenate(query))


def _support(
    rows: np.ndarray, groups: np.ndarray, shots: int, rng: np.random.Generator
) -> np.ndarray:
    """`shots` of these rows, in as many groups as the draw gives, but never in all of them."""
    shuffled = rng.permutation(rows)
    spared = groups[shuffled[-1]]  # of which at least one row is left for the query
    chosen = shuffled[groups[shuffled] != spared][:shots]
    if len(chosen) == shots:
        return np.asarray(chosen)
    # the spared group was too large: spare the smallest one instead
    names, sizes = np.unique(groups[rows], return_counts=True)
    return np.asarray(shuffled[groups[shuffled] != names[sizes.argmin()]][:shots])
