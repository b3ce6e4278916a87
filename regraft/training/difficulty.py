"""How difficult training examples are, for a curriculum."""

from __future__ import annotations

import numpy as np
import pandas as pd

from regraft.shift.cross_validation import assign_folds
from regraft.training.probe import fit_probe


def held_out_losses(rows: pd.DataFrame, features: np.ndarray, *, seed: int) -> np.ndarray:
    """The probe's cross-entropy on each row of split `train` while it was held out, in their
    order; NaN where it never was. Features (n, dim) belong to `rows`.

    Source: scoring by a model on transferred features, Hacohen and Weinshall, ICML 2019.
    """
    train = rows["split"] == "train"
    _, labels = np.unique(rows.loc[train, "label"].to_numpy(str), return_inverse=True)
    folds = assign_folds(labels, rows.loc[train, "group"].to_numpy(str), seed=seed)
    probe = fit_probe(rows, features, seed=seed)
    logits = probe.held_out_logits - probe.held_out_logits.max(1, keepdims=True, initial=-np.inf)
    losses = np.log(np.exp(logits).sum(1)) - logits[np.arange(len(logits)), probe.held_out_labels]
    found = np.full(len(labels), np.nan)
    found[folds >= 0] = losses
    return found
