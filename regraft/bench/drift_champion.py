"""The model that the streams of `regraft bench drift` are answered by, and its reference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from regraft.bench.drift_photos import Photos
from regraft.monitoring.samples import PROBABILITY, Sample

TRAIN, HELD_OUT = 250, 150
_PENALTY_INVERSE = 1.0


@dataclass(frozen=True)
class Reference:
    """As `regraft.monitoring.baseline.ReferenceLike`."""

    rows: pd.DataFrame
    embeddings: np.ndarray
    classes: list[str]
    version: str = "1"


class Champion:
    """A linear probe on lab photos, its reference, and the pool it has never seen.

    `unknown` is the lab class that it is not taught.
    """

    def __init__(self, photos: Photos, seed: int) -> None:
        self.photos = photos
        lab = photos.tables["lab"]
        names = sorted(lab["label"].unique())
        self.classes, self.unknown = names[:-1], names[-1]
        rng = np.random.default_rng(seed)
        known = lab["label"].isin(self.classes).to_numpy()
        order = _whole_groups(lab["group"].to_numpy(), known, rng)
        self.train, self.held_out, self.pool = np.split(order, [TRAIN, TRAIN + HELD_OUT])
        used = set(lab["group"].iloc[order[: TRAIN + HELD_OUT]])
        self.pool = self.pool[~lab["group"].iloc[self.pool].isin(used).to_numpy()]
        x = photos.embeddings["lab"]
        self._mean, self._scale = x[self.train].mean(0), x[self.train].std(0) + 1e-6
        self._probe = _fitted(self._standardised(x[self.train]), lab["label"].iloc[self.train])

    def reference(self) -> Reference:
        """Training and held-out photos with the probe's answers."""
        which = np.concatenate([self.train, self.held_out])
        answered = self.answers([("lab", which)], name="reference")
        table = self.photos.tables["lab"].iloc[which].reset_index(drop=True)
        rows = answered.rows.assign(
            predicted=answered.rows["label"],
            label=table["label"],
            group=table["group"],
            domain="lab",
            split=np.where(np.arange(len(which)) < TRAIN, "train", "test"),
        )
        return Reference(rows, answered.embeddings, self.classes)

    def answers(self, drawn: list[tuple[str, np.ndarray]], name: str) -> Sample:
        """The probe's answers to photos, given as (table, rows)."""
        tables = [self.photos.tables[t].iloc[rows] for t, rows in drawn]
        x = np.concatenate([self.photos.embeddings[t][rows] for t, rows in drawn])
        probabilities = self._probe.predict_proba(self._standardised(x))
        best = probabilities.argmax(1)
        rows = pd.concat(tables, ignore_index=True)
        statistics = rows[[c for c in rows.columns if c.startswith("stat_")]]
        answered = pd.DataFrame(
            {
                "id": rows["id"],
                "label": np.array(self._probe.classes_)[best],
                "confidence": probabilities[np.arange(len(best)), best],
                "truth": rows["label"],
                "input_hash": rows["id"],
                **{f"{PROBABILITY}{c}": p for c, p in zip(self._probe.classes_, probabilities.T,
                                                         strict=True)},
            }
        )  # fmt: skip
        return Sample(pd.concat([answered, statistics], axis=1), x, name)

    def of(self, table: str, rows: np.ndarray) -> pd.Series:
        """Labels of rows of a table."""
        return self.photos.tables[table]["label"].iloc[rows]

    def _standardised(self, x: np.ndarray) -> np.ndarray:
        return (x - self._mean) / self._scale


def _whole_groups(groups: np.ndarray, known: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Rows of known classes in random order, near-duplicates one after the other."""
    names = rng.permutation(np.unique(groups[known]))
    place = {name: k for k, name in enumerate(names)}
    rows = np.flatnonzero(known)
    return rows[np.argsort([place[groups[row]] for row in rows], kind="stable")]


def _fitted(x: np.ndarray, labels: pd.Series) -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=_PENALTY_INVERSE / x.shape[1], max_iter=2000).fit(x, labels)
