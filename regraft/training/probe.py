"""The probe: a convex head on cached features, the first stage of every plan and a baseline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from regraft.backbones.heads import LinearHead, logistic_probe
from regraft.backbones.transferability import log_maximum_evidence
from regraft.shift.cross_validation import assign_folds, fold_numbers


@dataclass(frozen=True)
class Probe:
    """A head with the classes it tells apart, in the order of its rows.

    `held_out_logits` (m, classes) and `held_out_labels` (m,) are answers to training examples by
    heads that had not seen them: what a temperature can be fitted on without validation data.
    """

    head: LinearHead
    classes: list[str]
    held_out_logits: np.ndarray
    held_out_labels: np.ndarray

    def summary(self) -> dict[str, Any]:
        """What is worth keeping beside the weights."""
        head = self.head
        return {
            "classes": self.classes,
            "strength": head.strength,
            "cv_accuracy": head.cv_accuracy,
            "cv_low": head.cv_low,
            "cv_high": head.cv_high,
        }


def fit_probe(rows: pd.DataFrame, features: np.ndarray, *, seed: int) -> Probe:
    """Logistic regression on the rows of split `train`; features (n, dim) belong to `rows`.

    Its strength is chosen by cross-validation on these rows alone.
    """
    train = (rows["split"] == "train").to_numpy()
    classes, labels = np.unique(rows.loc[train, "label"].to_numpy(str), return_inverse=True)
    groups = rows.loc[train, "group"].to_numpy(str)
    head = logistic_probe(features[train], labels, groups=groups, seed=seed)
    logits, held_out = _held_out_answers(features[train], labels, groups, head.strength, seed)
    return Probe(head, [str(name) for name in classes], logits, labels[held_out])


def _held_out_answers(
    features: np.ndarray, labels: np.ndarray, groups: np.ndarray, strength: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Logits of every example that can be held out, and the positions of these examples."""
    folds = assign_folds(labels, groups, seed=seed)
    logits = np.zeros((len(labels), int(labels.max()) + 1))
    for fold in fold_numbers(folds):
        rest = folds != fold
        head = logistic_probe(features[rest], labels[rest], strength=strength, folds=2)
        logits[folds == fold] = head.logits(features[folds == fold])
    held_out = np.flatnonzero(folds >= 0)
    return logits[held_out], held_out


def score_backbone(rows: pd.DataFrame, features: np.ndarray, *, seed: int) -> dict[str, Any]:
    """How promising a backbone is for these labelled rows: LogME (You et al., ICML 2021) and the
    cross-validated accuracy of a probe."""
    _, labels = np.unique(rows["label"].to_numpy(str), return_inverse=True)
    head = logistic_probe(features, labels, groups=rows["group"].to_numpy(), seed=seed)
    return {
        "logme": float(log_maximum_evidence(features, labels)),
        "probe_accuracy": head.cv_accuracy,
        "probe_low": head.cv_low,
        "probe_high": head.cv_high,
    }


def ranking_rows(rows: pd.DataFrame, per_class: int) -> np.ndarray:
    """Positions of at most `per_class` training rows of every class, in manifest order."""
    train = rows[rows["split"] == "train"]
    chosen = train.groupby("label", sort=True).head(per_class)
    return chosen.index.to_numpy()
