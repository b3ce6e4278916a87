"""The probe of pairs: every fusion of both embeddings, and the one that held-out pairs choose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from regraft.backbones.heads.fusion import FusionModel
from regraft.backbones.heads.linear import unit_rows
from regraft.shift.cross_validation import wilson_interval
from regraft.training.alignment import FEWEST_GROUPS, align
from regraft.training.fusion import PairModel, fit_pairs
from regraft.training.probe import Probe
from regraft.transfer.fusion import Embedded, Floats

_RANK = 16
"""Directions in which image and text are compared, for watching whether they belong together."""


@dataclass(frozen=True)
class FusionProbe(Probe):
    """`judged` are accuracy and log loss of every answerer on held-out pairs, `chosen` is one of
    them."""

    judged: Mapping[str, Mapping[str, float]]
    chosen: str

    def summary(self) -> dict[str, Any]:
        return super().summary() | {"judged": self.judged, "chosen": self.chosen}


def fit_fusion_probe(
    rows: pd.DataFrame,
    features: np.ndarray,
    *,
    parts: tuple[int, ...],
    places: tuple[tuple[int, int], ...] = (),
    fusions: Sequence[dict[str, Any]],
    seed: int,
) -> tuple[FusionProbe, dict[str, Floats]]:
    """The fusion of the rows of split `train`, as `probe.fit_probe` has it, and what every
    answerer, chosen or not, says of all rows: {name: probabilities (n, classes)}.

    `features` (n, sum of `parts`) belong to `rows`, with the local features of all `places` (see
    `BlockwiseEncoder`) behind them where a fusion reads these; `fusions` as in `fusion.fit_pairs`.
    Image and text are aligned on these rows and on unlabelled ones of their domains.
    """
    train = (rows["split"] == "train").to_numpy()
    pairs = embedded(features, parts, places)
    own = rows[train]
    labels, groups = own["label"].astype(str).tolist(), own["group"].astype(str).tolist()
    model = fit_pairs(pairs.rows(train), labels, groups, fusions=fusions, seed=seed)
    numbers = np.searchsorted(model.classes, labels)
    held_out = model.held_out[model.chosen]
    right = held_out.argmax(1) == numbers
    low, high = wilson_interval(float(right.mean()), len(set(groups)))
    values = model.values()
    like = (rows["split"] == "unlabelled") & rows["domain"].isin(set(own["domain"]))
    matched = train | like.to_numpy()  # an alignment needs no label
    if rows.loc[matched, "group"].nunique() >= FEWEST_GROUPS:
        known = rows.loc[matched, "group"].astype(str).tolist()
        aligned = align(pairs.rows(matched), known, rank=_RANK, seed=seed)
        values |= {f"match_{name}": value for name, value in asdict(aligned).items()}
    head = FusionModel(values, float(right.mean()), low, high)
    probe = FusionProbe(
        head, "fusion", model.classes, held_out, numbers, model.judged, model.chosen
    )
    return probe, _said(model, pairs)


def embedded(
    features: np.ndarray, parts: tuple[int, ...], places: tuple[tuple[int, int], ...] = ()
) -> Embedded:
    """The pairs in rows of a `PairEncoder`."""
    image, text, local = np.split(features, [parts[0], sum(parts)], axis=1)
    whole = [unit_rows(side.astype(np.float64)) for side in (image, text)]
    if not local.shape[1]:
        return Embedded(*whole)
    own = np.split(local, [places[0][0] * places[0][1]], axis=1)
    shaped = [side.reshape(-1, *shape) for side, shape in zip(own, places, strict=True)]
    return Embedded(*whole, *shaped)


def _said(model: PairModel, pairs: Embedded) -> dict[str, Floats]:
    return {name: model.probabilities(pairs, by=name) for name in model.judged}
