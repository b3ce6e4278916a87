"""What a classifier is worth on a test set: figures, their intervals and their calibration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from regraft.errors import UserError
from regraft.evaluation import bootstrap
from regraft.evaluation.bootstrap import REPLICATES, Floats, Ints
from regraft.evaluation.calibration import expected_calibration_error

_SMALLEST_PROBABILITY = 1e-12


def classification_metrics(
    labels: ArrayLike,
    probabilities: ArrayLike,
    *,
    groups: ArrayLike | Sequence[Any] | None = None,
    classes: Sequence[str] | None = None,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> dict[str, Any]:
    """Score `probabilities` (n, classes) against integer `labels` (n,); all values JSON-ready.

    Keys: count, groups, accuracy, macro_f1, balanced_accuracy, nll (nats per example), ece
    (15 bins of equal width on the top confidence, Guo et al. 2017, eq. 3), brier (summed over
    classes, 0..2), per_class [{class, precision, recall, f1, count}] and interval
    {accuracy: [low, high], macro_f1: [low, high]} (95 %, bootstrap over `groups`).

    Macro-F1 averages over the classes that occur in labels or predictions (as scikit-learn does);
    a class that never occurs has None for what is undefined. If nothing is wrong the bootstrap
    has nothing to resample: the Wilson interval of the accuracy stands in for both.

    Raises UserError for empty, non-finite or mismatching input.
    """
    scores = check_probabilities(probabilities)
    truth = check_labels(labels, scores)
    predicted = scores.argmax(axis=1)
    codes = bootstrap.group_codes(groups, len(truth))
    tallies = bootstrap.class_tallies(truth, predicted, codes, scores.shape[1])
    total = tallies.sum(axis=0)
    rows = _per_class(total, classes)
    recalls = [row["recall"] for row in rows if row["count"]]
    of_truth = scores[np.arange(len(truth)), truth]
    return {
        "count": len(truth),
        "groups": len(tallies),
        "accuracy": float(bootstrap.accuracy_of(total)),
        "macro_f1": float(bootstrap.macro_f1_of(total)),
        "balanced_accuracy": float(np.mean(recalls)),
        "nll": float(-np.log(np.maximum(of_truth, _SMALLEST_PROBABILITY)).mean()),
        "ece": expected_calibration_error(truth, scores),
        "brier": float(((scores - np.eye(scores.shape[1])[truth]) ** 2).sum(axis=1).mean()),
        "per_class": rows,
        "interval": _intervals(tallies, replicates, seed),
    }


def check_probabilities(probabilities: ArrayLike) -> Floats:
    """Return the array as float64 (n, classes); UserError unless its rows are distributions."""
    scores = np.asarray(probabilities, dtype=np.float64)
    if scores.ndim != 2 or scores.size == 0:
        raise UserError(
            "no predictions to score",
            got=f"probabilities of shape {scores.shape}",
            expected="(examples, classes), both at least 1",
            fix="check that the test split is not empty",
        )
    if not np.isfinite(scores).all():
        bad = int((~np.isfinite(scores).all(axis=1)).sum())
        raise UserError("predictions hold NaN or infinity", got=f"{bad} of {len(scores)} rows")
    if (scores < 0).any() or not np.allclose(scores.sum(axis=1), 1.0, atol=1e-3):
        raise UserError("predictions are not probabilities", expected="rows >= 0 that add up to 1")
    return scores


def check_labels(labels: ArrayLike, scores: Floats) -> Ints:
    """Return labels as int64 (n,); UserError unless each names a column of `scores`."""
    raw = np.asarray(labels)
    if raw.shape != (len(scores),):
        raise UserError(
            "labels do not match the predictions",
            got=f"labels of shape {raw.shape}",
            expected=f"({len(scores)},)",
        )
    if raw.dtype.kind == "f" and not np.isfinite(raw).all():
        raise UserError("labels hold NaN", got=f"{int((~np.isfinite(raw)).sum())} of {len(raw)}")
    if raw.dtype.kind not in "iuf" or (raw != raw.astype(np.int64)).any():
        raise UserError(
            "labels are not class numbers", got=f"type {raw.dtype}", expected="integers"
        )
    truth = raw.astype(np.int64)
    if truth.min() < 0 or truth.max() >= scores.shape[1]:
        raise UserError(
            "a label names no class",
            got=f"labels from {truth.min()} to {truth.max()}",
            expected=f"0 to {scores.shape[1] - 1}",
        )
    return truth


def class_numbers(names: Sequence[str], classes: Sequence[str]) -> Ints:
    """Turn class names (n,) into their positions in `classes`; UserError for an unknown name."""
    position = {name: number for number, name in enumerate(classes)}
    unknown = sorted({str(name) for name in names if name not in position})
    if unknown:
        raise UserError(
            "the test set has labels that the model does not know",
            got=", ".join(unknown[:5]),
            expected=", ".join(classes[:10]),
        )
    return np.array([position[name] for name in names], dtype=np.int64)


def prior_probabilities(train_labels: ArrayLike, count: int, classes: int) -> Floats:
    """Predict the class frequencies of the training split for all: (count, classes).

    This is the majority baseline: its argmax is the commonest class, and its log-likelihood is
    the best that can be had without looking at an example.
    """
    truth = np.asarray(train_labels, dtype=np.int64)
    if not len(truth):
        raise UserError("the majority baseline needs training labels", got="0 labels")
    frequencies = np.bincount(truth, minlength=classes) / len(truth)
    return np.tile(frequencies, (count, 1))


def confusion_counts(labels: Ints, predicted: Ints, classes: int) -> Ints:
    """Count label (row) against prediction (column): (classes, classes)."""
    flat = np.bincount(labels * classes + predicted, minlength=classes * classes)
    return flat.reshape(classes, classes).astype(np.int64)


def _per_class(total: Ints, classes: Sequence[str] | None) -> list[dict[str, Any]]:
    hits, labels, predictions = np.split(total, 3)
    names = list(classes) if classes is not None else [str(k) for k in range(len(hits))]
    return [
        {
            "class": name,
            "precision": float(hit / predicted) if predicted else None,
            "recall": float(hit / count) if count else None,
            "f1": float(2 * hit / (count + predicted)) if count + predicted else None,
            "count": int(count),
        }
        for name, hit, count, predicted in zip(names, hits, labels, predictions, strict=True)
    ]


def _intervals(tallies: Ints, replicates: int, seed: int) -> dict[str, list[float]]:
    sums = bootstrap.resample(tallies, replicates=replicates, seed=seed)
    accuracy = bootstrap.percentile_interval(bootstrap.accuracy_of(sums))
    macro_f1 = bootstrap.percentile_interval(bootstrap.macro_f1_of(sums))
    if accuracy[0] == accuracy[1]:
        share = float(bootstrap.accuracy_of(tallies.sum(axis=0)))
        accuracy = bootstrap.wilson_interval(share, len(tallies))
    if macro_f1[0] == macro_f1[1]:
        macro_f1 = min(accuracy[0], macro_f1[0]), max(accuracy[1], macro_f1[1])
    return {"accuracy": list(accuracy), "macro_f1": list(macro_f1)}
