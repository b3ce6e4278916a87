"""Is a confidence of 90 % right nine times in ten? Measure it, and mend it with one number."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from regraft.errors import UserError
from regraft.evaluation.bootstrap import Floats

BINS = 15
FEWEST_EXAMPLES = 10
_TEMPERATURES = (0.05, 20.0)
_SMALLEST_PROBABILITY = 1e-12


def fit_temperature(logits: ArrayLike, labels: ArrayLike) -> float:
    """Find T such that softmax(logits / T) has the least negative log-likelihood on `labels`.

    `logits` (n, classes) may be log-probabilities; they must come from examples that the model was
    not trained on. Guo et al., On Calibration of Modern Neural Networks, 2017, section 4.2.

    Small samples are guarded in two ways. Below 10 examples the answer is 1.0 (leave it alone).
    Above, log T has a standard normal prior: it weighs nothing against hundreds of labels, but
    keeps T from running to its bound where a small validation set has no mistake.
    Raises UserError for empty or NaN input.
    """
    from scipy.optimize import minimize_scalar

    scores = np.asarray(logits, dtype=np.float64)
    truth = np.asarray(labels, dtype=np.int64)
    if scores.ndim != 2 or scores.size == 0 or truth.shape != (len(scores),):
        raise UserError(
            "no labelled examples to calibrate on",
            got=f"logits {scores.shape}, labels {truth.shape}",
            expected="(n, classes) and (n,), n >= 1",
        )
    if np.isnan(scores).any() or (scores == np.inf).any():
        raise UserError("the logits to calibrate hold NaN or infinity")
    if len(truth) < FEWEST_EXAMPLES:
        return 1.0
    scores = np.maximum(scores, np.log(_SMALLEST_PROBABILITY) + scores.max(axis=1, keepdims=True))
    rows = np.arange(len(truth))

    def penalised_loss(log_temperature: float) -> float:
        scaled = _log_softmax(scores / np.exp(log_temperature))
        return float(-scaled[rows, truth].sum() + log_temperature**2 / 2)

    low, high = np.log(_TEMPERATURES)
    best = minimize_scalar(penalised_loss, bounds=(low, high), method="bounded")
    return float(np.exp(best.x))


def reliability_bins(
    labels: ArrayLike, probabilities: ArrayLike, bins: int = BINS
) -> list[dict[str, Any]]:
    """Compare confidence with accuracy in `bins` bins of equal width on the top probability.

    Returns the non-empty bins, lowest first: {low, high, confidence (mean), accuracy, count}.
    """
    scores = np.asarray(probabilities, dtype=np.float64)
    if scores.ndim != 2 or scores.size == 0 or not np.isfinite(scores).all():
        raise UserError("a reliability diagram needs finite probabilities", got=str(scores.shape))
    confidence = scores.max(axis=1)
    correct = scores.argmax(axis=1) == np.asarray(labels)
    bin_of = np.minimum((confidence * bins).astype(np.int64), bins - 1)
    return [
        {
            "low": number / bins,
            "high": (number + 1) / bins,
            "confidence": float(confidence[bin_of == number].mean()),
            "accuracy": float(correct[bin_of == number].mean()),
            "count": int((bin_of == number).sum()),
        }
        for number in np.unique(bin_of).tolist()
    ]


def expected_calibration_error(
    labels: ArrayLike, probabilities: ArrayLike, bins: int = BINS
) -> float:
    """Mean gap between confidence and accuracy, weighted by bin size (Guo et al. 2017, eq. 3)."""
    rows = reliability_bins(labels, probabilities, bins)
    total = sum(row["count"] for row in rows)
    return float(
        sum(row["count"] * abs(row["confidence"] - row["accuracy"]) for row in rows) / total
    )


def risk_coverage(labels: ArrayLike, probabilities: ArrayLike) -> list[dict[str, float]]:
    """Accuracy of what is kept if the least confident answers are handed to a person.

    Returns up to 101 points {coverage, accuracy, confidence}, coverage from 1 % to 100 %;
    `confidence` is the threshold that keeps this share (Geifman and El-Yaniv, 2017).
    """
    scores = np.asarray(probabilities, dtype=np.float64)
    return coverage_curve(scores.argmax(axis=1) == np.asarray(labels), scores.max(axis=1))


def coverage_curve(correct: ArrayLike, confidence: ArrayLike) -> list[dict[str, float]]:
    """The same from which answers are right (n,) and how sure of each the model is (n,)."""
    correct, confidence = np.asarray(correct, bool), np.asarray(confidence, np.float64)
    order = np.argsort(-confidence, kind="stable")
    accuracy = np.cumsum(correct[order]) / np.arange(1, len(order) + 1)
    kept = np.unique(np.maximum(1, np.round(np.linspace(0.01, 1, 100) * len(order)).astype(int)))
    return [
        {
            "coverage": float(count / len(order)),
            "accuracy": float(accuracy[count - 1]),
            "confidence": float(confidence[order[count - 1]]),
        }
        for count in kept.tolist()
    ]


def _log_softmax(scores: Floats) -> Floats:
    shifted = scores - scores.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))
