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
    """A linear probe on lab photos, its reference, and the pool that it has never seen.

    `unknown` is the lab class that it is not taught. `train` and `held_out` photos of the others
    are drawn anew for each `seed`; with `field` so many field photos of its classes are known too
    (in the same proportion), and `field_pool` are the others.
    """

    def __init__(
        self,
        photos: Photos,
        seed: int,
        *,
        train: int = TRAIN,
        held_out: int = HELD_OUT,
        field: int = 0,
    ) -> None:
        self.photos = photos
        names = sorted(photos.tables["lab"]["label"].unique())
        self.classes, self.unknown = names[:-1], names[-1]
        rng = np.random.default_rng(seed)
        taught = field * train // (train + held_out)
        *lab, self.pool = self._dealt("lab", train, held_out, rng)
        *fields, self.field_pool = self._dealt("field", taught, field - taught, rng)
        self.train = lab[0]
        self._parts = [("lab", lab[0]), ("field", fields[0]), ("lab", lab[1]), ("field", fields[1])]
        x = self._embeddings(self._parts[:2])
        self._mean, self._scale = x.mean(0), x.std(0) + 1e-6
        labels = pd.concat([self.of(*part) for part in self._parts[:2]])
        self._probe = _fitted(self._standardised(x), labels)

    def _dealt(
        self, table: str, train: int, held_out: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rows to train on, to hold out, and those that share no group with either."""
        rows = self.photos.tables[table]
        known = rows["label"].isin(self.classes).to_numpy()
        order = _whole_groups(rows["group"].to_numpy(), known, rng)
        used = set(rows["group"].iloc[order[: train + held_out]])
        pool = order[train + held_out :]
        pool = pool[~rows["group"].iloc[pool].isin(used).to_numpy()]
        return order[:train], order[train : train + held_out], pool

    def reference(self) -> Reference:
        """Training and held-out photos with the probe's answers."""
        answered = self.answers(self._parts, name="reference")
        table = pd.concat([self.photos.tables[t].iloc[rows] for t, rows in self._parts])
        splits = ("train", "train", "test", "test")
        rows = answered.rows.assign(
            predicted=answered.rows["label"],
            label=table["label"].to_numpy(),
            group=table["group"].to_numpy(),
            domain=table["domain"].to_numpy(),
            split=np.repeat(splits, [len(rows) for _, rows in self._parts]),
        )
        return Reference(rows, answered.embeddings, self.classes)

    def answers(self, drawn: list[tuple[str, np.ndarray]], name: str) -> Sample:
        """The probe's answers to photos, given as (table, rows)."""
        tables = [self.photos.tables[t].iloc[rows] for t, rows in drawn]
        x = self._embeddings(drawn)
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

    def _embeddings(self, drawn: list[tuple[str, np.ndarray]]) -> np.ndarray:
        return np.concatenate([self.photos.embeddings[t][rows] for t, rows in drawn])

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
