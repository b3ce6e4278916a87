"""The probe: a convex head on cached features, the first stage of every plan and a baseline."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from regraft.backbones.heads import (
    FusionModel,
    Head,
    LinearHead,
    cache_model,
    logistic_probe,
    nearest_class_mean,
    ridge_head,
)
from regraft.backbones.heads.cache_model import built, search
from regraft.backbones.heads.linear import fitting_threads
from regraft.backbones.transferability import log_maximum_evidence
from regraft.data.auxiliary import PREFIX, task_names
from regraft.errors import UserError
from regraft.shift.cross_validation import assign_folds, fold_numbers, wilson_interval

# Features have length 1, so the useful penalties are the same for every backbone.
RIDGE_STRENGTHS = (10.0, 100.0, 1000.0)
LOGISTIC_STRENGTHS = (10.0, 1000.0)
_SHOWN = 2.0  # standard errors by which a head must beat the usual ones


@dataclass(frozen=True)
class Probe:
    """A head with the classes it tells apart, in the order of its rows.

    `held_out_logits` (m, classes) and `held_out_labels` (m,) are answers to training examples by
    heads that had not seen them: what a temperature can be fitted on without validation data.
    """

    head: Head | FusionModel
    kind: str
    classes: list[str]
    held_out_logits: np.ndarray
    held_out_labels: np.ndarray

    def summary(self) -> dict[str, Any]:
        """What is worth keeping beside the weights."""
        head = self.head
        return {
            "kind": self.kind,
            "classes": self.classes,
            "strength": head.strength,
            "cv_accuracy": head.cv_accuracy,
            "cv_low": head.cv_low,
            "cv_high": head.cv_high,
        }


def fit_probe(
    rows: pd.DataFrame,
    features: np.ndarray,
    *,
    seed: int,
    augmented: np.ndarray | None = None,
    kind: str = "auto",
) -> Probe:
    """A head on the rows of split `train`; features (n, dim) belong to `rows`.

    `kind` is `auto` or one of `backbones.heads.KINDS`. `auto` takes logistic or ridge regression,
    whichever has the better accuracy on held-out folds of these rows alone (ridge where they tie),
    or the nearest class mean if it beats both by two standard errors. It never takes the cache
    model: its keys are features of the frozen backbone and go stale when fine-tuning moves that.
    Strengths, and the cache's alpha and beta, are chosen on the same folds. `augmented`
    (training rows, views, dim) are further views of the training rows, in their order, which
    train the head beside them but never answer for it and are no keys of a cache.
    """
    train = (rows["split"] == "train").to_numpy()
    classes, labels = np.unique(rows.loc[train, "label"].to_numpy(str), return_inverse=True)
    x, groups = features[train], rows.loc[train, "group"].to_numpy(str)
    names = [str(name) for name in classes]
    folds = assign_folds(labels, groups, seed=seed)
    with fitting_threads(x if augmented is None else augmented.reshape(-1, x.shape[1])):
        x, augmented, basis = _in_span(x, augmented)
        examples = _Examples(x, labels, folds, augmented)
        held_out = np.flatnonzero(folds >= 0)
        if not len(held_out):  # one example per class: nothing to choose with
            kind = "ridge" if kind == "auto" else kind
            head = _unchosen(kind, examples).mapped(basis)
            return Probe(head, kind, names, np.zeros((0, len(names))), np.zeros(0, dtype=int))
        kind, chosen, logits = _chosen(kind, examples, held_out)
    accuracy = float((logits.argmax(1) == labels)[held_out].mean())
    low, high = wilson_interval(accuracy, len(np.unique(groups[held_out])))
    head = replace(chosen, cv_accuracy=accuracy, cv_low=low, cv_high=high).mapped(basis)
    return Probe(head, kind, names, logits[held_out], labels[held_out])


def fit_auxiliary(
    rows: pd.DataFrame,
    features: np.ndarray,
    *,
    seed: int,
    augmented: np.ndarray | None = None,
    kind: str = "auto",
) -> dict[str, Probe]:
    """A head for every auxiliary task of the rows (see `data.auxiliary`), as `fit_probe` fits that
    of the label; rows without a label of the task are left out of its head.

    Raises
    ------
    UserError
        The training rows have fewer than two labels of a task, or `kind` is `cache_model`.
    """
    tasks = task_names(rows.columns)
    if tasks and kind == "cache_model":
        raise UserError(
            "a cache model answers one task",
            where="features.head",
            got=f"cache_model with data.auxiliary_labels {', '.join(tasks)}",
            expected="auto or a linear head",
        )
    train = (rows["split"] == "train").to_numpy()
    found = {}
    for name in tasks:
        labelled = rows[PREFIX + name].notna().to_numpy()
        own = rows[labelled].assign(label=rows.loc[labelled, PREFIX + name])
        _refuse_single(own.loc[own["split"] == "train", "label"], name)
        views = None if augmented is None else augmented[labelled[train]]
        found[name] = fit_probe(own, features[labelled], seed=seed, augmented=views, kind=kind)
    return found


def _refuse_single(labels: pd.Series, task: str) -> None:
    if labels.nunique() < 2:
        raise UserError(
            f"the training examples have fewer than two labels of the task {task}",
            where="data.auxiliary_labels",
            got=", ".join(labels.unique()) or "none",
            expected="at least two",
            fix=f"label more examples, or take {task} out of data.auxiliary_labels",
        )


def _unchosen(kind: str, examples: _Examples) -> Head:
    """A head whose strengths are the defaults."""
    linear = examples.head(_LINEAR["ridge" if kind == "cache_model" else kind][-1])
    if kind != "cache_model":
        return linear
    return cache_model(examples.features, examples.labels, linear=linear, folds=1)


def _chosen(kind: str, examples: _Examples, held_out: np.ndarray) -> tuple[str, Head, np.ndarray]:
    """Kind, head and held-out logits (n, classes) of what answers held-out folds best."""
    usual = ["ridge", "logistic"]
    kinds = usual if kind in {"auto", "cache_model"} else [kind]
    found = [(name, fit, examples.held_out_logits(fit)) for name in kinds for fit in _LINEAR[name]]
    name, fit, logits = max(found, key=lambda one: examples.right(one[2])[held_out].mean())
    if kind == "auto":
        (other,) = _LINEAR["nearest_class_mean"]
        answers = examples.held_out_logits(other)
        if _is_shown(examples.right(answers)[held_out], examples.right(logits)[held_out]):
            name, fit, logits = "nearest_class_mean", other, answers
    head = examples.head(fit)
    if kind != "cache_model":
        return name, head, logits
    alpha, beta, logits = search(examples.features, examples.labels, examples.folds, logits)
    return kind, built(head, examples.features, examples.labels, alpha, beta), logits


def _is_shown(challenger: np.ndarray, champion: np.ndarray) -> bool:
    """Is the challenger right more often, by more than chance among the same examples?"""
    gain = challenger.astype(float) - champion.astype(float)
    return bool(gain.mean() > _SHOWN * gain.std() / np.sqrt(len(gain)) and gain.mean() > 0)


def _in_span(
    x: np.ndarray, augmented: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
    """The features in coordinates of their own span, and the basis (rank, dim) to map back with.

    The weights of a head with an L2 penalty lie in the span of its examples (representer theorem),
    so with fewer examples than dimensions the problem is the same and many times smaller.
    """
    everything = x if augmented is None else np.concatenate([x, augmented.reshape(-1, x.shape[1])])
    if len(everything) >= x.shape[1]:
        return x, augmented, np.eye(x.shape[1])
    wide = everything.astype(np.float64)
    values, vectors = np.linalg.eigh(wide @ wide.T)
    kept = values > values.max() * 1e-12
    scale = np.sqrt(values[kept])
    coordinates = vectors[:, kept] * scale
    basis = (vectors[:, kept] / scale).T @ wide
    n, rank = len(x), int(kept.sum())
    more = None if augmented is None else coordinates[n:].reshape(n, -1, rank)
    return coordinates[:n], more, basis


Fit = Callable[[np.ndarray, np.ndarray], LinearHead]
_LINEAR: dict[str, list[Fit]] = {
    "nearest_class_mean": [nearest_class_mean],
    "ridge": [partial(ridge_head, strength=strength) for strength in RIDGE_STRENGTHS],
    "logistic": [
        partial(logistic_probe, strength=strength, folds=1) for strength in LOGISTIC_STRENGTHS
    ],
}


@dataclass(frozen=True)
class _Examples:
    """Training examples with their folds; augmented views stay in the fold of their example."""

    features: np.ndarray
    labels: np.ndarray
    folds: np.ndarray
    augmented: np.ndarray | None

    def head(self, fit: Fit, without: int | None = None) -> LinearHead:
        """The head fitted on everything, or on all folds but one."""
        keep = np.ones(len(self.labels), dtype=bool) if without is None else self.folds != without
        x, y = self.features[keep], self.labels[keep]
        if self.augmented is not None:
            more = self.augmented[keep]
            x = np.concatenate([x, more.reshape(-1, more.shape[2])])
            y = np.concatenate([y, np.repeat(self.labels[keep], more.shape[1])])
        return fit(x, y)

    def right(self, logits: np.ndarray) -> np.ndarray:
        """Which examples (n,) these logits answer rightly."""
        return np.asarray(logits.argmax(1) == self.labels)

    def held_out_logits(self, fit: Fit) -> np.ndarray:
        """Logits (n, classes) of every example by a head that has not seen its fold."""
        logits = np.zeros((len(self.labels), int(self.labels.max()) + 1))
        for fold in fold_numbers(self.folds):
            own = self.folds == fold
            logits[own] = self.head(fit, without=fold).logits(self.features[own])
        return logits


def augmented_views(n_examples: int, *, most: int, budget: int) -> int:
    """Further views per training example: `most` where there are few, none where the examples
    alone exceed half of the `budget`.

    >>> [augmented_views(n, most=8, budget=800) for n in (40, 136, 400, 680)]
    [8, 5, 2, 0]
    """
    views = min(most, budget // max(n_examples, 1))
    return views if views > 1 else 0


def score_backbone(rows: pd.DataFrame, features: np.ndarray, *, seed: int) -> dict[str, Any]:
    """How promising a backbone is for these labelled rows: LogME (You et al., ICML 2021) and the
    cross-validated accuracy of a probe."""
    _, labels = np.unique(rows["label"].to_numpy(str), return_inverse=True)
    groups = rows["group"].to_numpy()
    with fitting_threads(features):
        coordinates, _, _ = _in_span(features, None)
        head = logistic_probe(
            coordinates, labels, groups=groups, strength=LOGISTIC_STRENGTHS[0], seed=seed
        )
    return {
        "logme": float(log_maximum_evidence(features, labels)),
        "probe_accuracy": head.cv_accuracy,
        "probe_low": head.cv_low,
        "probe_high": head.cv_high,
    }


def ranking_rows(rows: pd.DataFrame, per_class: int) -> np.ndarray:
    """Positions of at most `per_class` training rows of every class, in manifest order; the groups
    of a class take turns."""
    train = rows[rows["split"] == "train"]
    turns = train.groupby(["label", "group"]).cumcount().sort_values(kind="stable").index
    chosen = train.loc[turns].groupby("label", sort=True).head(per_class)
    return np.sort(chosen.index.to_numpy())
