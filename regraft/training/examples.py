"""Labelled examples as training reads them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd


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
        counts = np.bincount(self.labels, minlength=self.n_classes).clip(min=1)
        return np.asarray(len(self) / (self.n_classes * counts), dtype=np.float32)


def split_of(manifest: pd.DataFrame, split: str, classes: list[str]) -> Split:
    """The labelled rows of `split` whose label is in `classes`, in manifest order."""
    rows = manifest[(manifest["split"] == split) & manifest["label"].isin(classes)]
    rows = rows.reset_index(drop=True)
    numbers = {name: index for index, name in enumerate(classes)}
    return Split(rows, rows["label"].map(numbers).to_numpy(dtype=int), len(classes))
