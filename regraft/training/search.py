"""Successive halving: many configurations for a short time, the better ones for longer.

Source: Jamieson and Talwalkar, "Non-stochastic Best Arm Identification and Hyperparameter
Optimization", AISTATS 2016, figure 3; with eta = 3 the inner loop of Hyperband (Li et al., JMLR
2018, section 2). With n configurations and a budget of B epochs there are K = ceil(log_eta n)
rungs; each gets B / K epochs, shared equally by those still in, of which the best 1 / eta go on.

>>> losses = {"a": 0.3, "b": 0.1, "c": 0.2, "d": 0.4}
>>> found = successive_halving(list(losses), lambda name, epochs: losses[name] / epochs, [1, 3])
>>> found.winner, [(rung.epochs, rung.kept) for rung in found.rungs]
('b', [(1, ['b', 'c']), (3, ['b'])])
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from regraft.data.files import atomic_write
from regraft.training import processes

ETA = 3
"""Of the configurations of a rung, one in ETA goes on."""


class Trial(NamedTuple):
    """A validation loss and its standard error."""

    loss: float
    error: float

    def surely_below(self, other: float) -> bool:
        """Is the loss lower than `other` by more than its standard error? The rule of one standard
        error: the simpler model stays unless the other is better by more than its noise
        (Breiman et al., "Classification and Regression Trees", 1984, section 3.4.3).

        >>> Trial(0.30, 0.05).surely_below(0.36), Trial(0.30, 0.05).surely_below(0.34)
        (True, False)
        """
        return self.loss + self.error < other


@dataclass(frozen=True)
class Rung:
    """The losses of one round, in the order of the candidates, and who goes on, best first."""

    epochs: int
    losses: dict[str, float]
    kept: list[str]


@dataclass(frozen=True)
class Search:
    """Who won, and all rounds."""

    winner: str
    rungs: list[Rung]


def rung_epochs(candidates: int, budget_epochs: int) -> list[int]:
    """How long each rung trains a candidate, at least one epoch.

    >>> rung_epochs(12, 36)
    [1, 3, 6]
    """
    sizes = [candidates]
    while sizes[-1] > 1:
        sizes.append(math.ceil(sizes[-1] / ETA))
    rungs = sizes[:-1] or sizes
    return [max(1, budget_epochs // (len(rungs) * size)) for size in rungs]


def successive_halving(
    candidates: Sequence[str], evaluate: Callable[[str, int], float], rungs: Sequence[int]
) -> Search:
    """Names of configurations, their validation loss after so many epochs, the epochs of each rung.

    A loss that is not finite counts as the worst. Ties go to the candidate named first, so the
    result depends on nothing but `evaluate`.
    """
    if not candidates or not rungs:
        raise ValueError("nothing to search: no candidates or no rungs")
    alive, found = list(candidates), []
    for epochs in rungs:
        losses = {name: evaluate(name, epochs) for name in alive}
        ranked = sorted(alive, key=lambda name: _finite(losses[name]))
        alive = ranked[: math.ceil(len(ranked) / ETA)]
        found.append(Rung(epochs, losses, list(alive)))
        alive.sort(key=candidates.index)
    return Search(found[-1].kept[0], found)


def remembered(evaluate: Callable[[str, int], Trial], path: Path) -> Callable[[str, int], Trial]:
    """The same function, whose results are kept in a JSON file: a search that was killed asks for
    nothing twice."""
    known: dict[str, list[float | None]] = {}
    if path.is_file():
        known = json.loads(path.read_text(encoding="utf-8"))
    known = processes.agreed(known)

    def ask(name: str, epochs: int) -> Trial:
        key = f"{name}, {epochs} epochs"
        if key not in known:
            trial = evaluate(name, epochs)
            known[key] = [number if math.isfinite(number) else None for number in trial]
            text = json.dumps(known, indent=2)
            if processes.is_first():
                atomic_write(path, lambda partial: partial.write_text(text, encoding="utf-8"))
        return Trial(*(math.inf if number is None else number for number in known[key]))

    return ask


def _finite(loss: float) -> float:
    return loss if math.isfinite(loss) else math.inf
