"""A sample of answers: what two-sample tests compare."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Array = NDArray[Any]

STATISTIC = "stat_"
PROBABILITY = "p:"


@dataclass(frozen=True)
class Sample:
    """Answers of one model version.

    `rows` has the columns of the prediction log: id, label (what was predicted), confidence,
    truth (None where unknown), stat_<name>, p:<class>. Row i of `embeddings` (n, dim) belongs to
    row i of `rows`. `late_labels`: answers that were judged before their truth came, so that only
    their accuracy is new.
    """

    rows: pd.DataFrame
    embeddings: Array
    name: str = ""
    late_labels: bool = False

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, which: Array) -> Sample:
        """The rows that a mask or row numbers name, in that order."""
        rows = self.rows[which] if which.dtype == bool else self.rows.iloc[which]
        return replace(self, rows=rows.reset_index(drop=True), embeddings=self.embeddings[which])

    @property
    def statistics(self) -> list[str]:
        """Columns of input statistics."""
        return [str(c) for c in self.rows.columns if str(c).startswith(STATISTIC)]

    @property
    def finite(self) -> Array:
        """Mask of the rows whose embedding is finite."""
        return np.asarray(np.isfinite(self.embeddings).all(axis=1))

    @property
    def width(self) -> int:
        """Columns of the embeddings; 0 for an empty sample."""
        return int(self.embeddings.shape[1]) if self.embeddings.ndim == 2 else 0
