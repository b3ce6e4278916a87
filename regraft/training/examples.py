"""Labelled examples as training reads them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from regraft.data.auxiliary import PREFIX


@dataclass(frozen=True)
class Split:
    """The rows of one split with their class numbers (n,)."""

    rows: pd.DataFrame
    labels: np.ndarray
    n_classes: int

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def smallest_class(self) -> int:
        """Examples of the rarest class."""
        return int(np.bincount(self.labels, minlength=self.n_classes).min()) if len(self) else 0

    def class_weights(self) -> np.ndarray:
        """Inverse class frequency, with mean 1 over the examples: (n_classes,)."""
        return inverse_frequency(self.labels, self.n_classes)


@dataclass(frozen=True)
class TaskLabels:
    """Class numbers (n,) of one auxiliary task, -1 where an example has none."""

    labels: np.ndarray
    n_classes: int

    @property
    def known(self) -> np.ndarray:
        """Which examples (n,) are labelled."""
        return np.asarray(self.labels >= 0)

    def class_weights(self) -> np.ndarray:
        """As of a `Split`, over the labelled examples."""
        return inverse_frequency(self.labels[self.known], self.n_classes)


def inverse_frequency(labels: np.ndarray, n_classes: int) -> np.ndarray:
    """A weight per class, (n_classes,), whose mean over the examples is 1."""
    counts = np.bincount(labels, minlength=n_classes).clip(min=1)
    return np.asarray(len(labels) / (n_classes * counts), dtype=np.float32)


def task_labels(rows: pd.DataFrame, name: str, classes: list[str]) -> TaskLabels:
    """The labels of the auxiliary task `name`; one that is none of `classes` counts as unknown."""
    numbers = {label: index for index, label in enumerate(classes)}
    found = [numbers.get(label, -1) for label in rows[PREFIX + name]]
    return TaskLabels(np.array(found, dtype=int), len(classes))


def split_of(manifest: pd.DataFrame, split: str, classes: list[str]) -> Split:
    """The labelled rows of `split` whose label is in `classes`, in manifest order."""
    rows = manifest[(manifest["split"] == split) & manifest["label"].isin(classes)]
    rows = rows.reset_index(drop=True)
    numbers = {name: index for index, name in enumerate(classes)}
    return Split(rows, rows["label"].map(numbers).to_numpy(dtype=int), len(classes))
