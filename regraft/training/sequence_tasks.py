"""Tasks that arrive one after the other, and the few examples of each that are remembered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from regraft.transfer.batches.replay import class_balanced


@dataclass(frozen=True)
class Tasks:
    """Rows of a manifest with a further column `task`, the number of the task each belongs to.

    Attributes
    ----------
    rows : at least path, sha256, label, group, split (`train` or `test`) and task; index 0 to n-1.
    names : of the tasks, in order.
    classes : of each task; a class may come again, in another domain.
    """

    rows: pd.DataFrame
    names: Sequence[str]
    classes: Sequence[Sequence[str]]

    def __len__(self) -> int:
        return len(self.names)

    def seen(self, task: int) -> list[str]:
        """The classes known after this task, in the order they came in."""
        return list(dict.fromkeys(name for own in self.classes[: task + 1] for name in own))

    def positions(self, split: str, *tasks: int) -> np.ndarray:
        """Positions of the rows of a split of these tasks, in manifest order."""
        mask = (self.rows["split"] == split) & self.rows["task"].isin(tasks)
        return np.flatnonzero(mask.to_numpy())


def remembered(
    rows: pd.DataFrame, memory: np.ndarray, new: np.ndarray, *, per_class: int, seed: int
) -> np.ndarray:
    """Sorted positions of the rows that are kept: at most `per_class` of every class.

    They are drawn at random among what was remembered (`memory`) and the examples of the task that
    ends (`new`), so what a full class keeps changes only when the class comes again.

    >>> rows = pd.DataFrame({"label": ["a"] * 5 + ["b"] * 5})
    >>> kept = remembered(rows, np.array([1, 3]), np.arange(5, 10), per_class=2, seed=0)
    >>> rows.loc[kept, "label"].tolist()
    ['a', 'a', 'b', 'b']
    """
    labels = rows["label"].to_numpy(str)
    candidates = np.concatenate([memory, new]).astype(int)
    kept = []
    for label in np.unique(labels[candidates]):
        own = candidates[labels[candidates] == label]
        rng = np.random.default_rng((seed, len(memory)))
        kept.append(own[class_balanced(labels[own], per_class, rng)])
    return np.sort(np.concatenate(kept))
