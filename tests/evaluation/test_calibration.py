import numpy as np
import pytest
from scipy.special import softmax

from regraft.errors import UserError
from regraft.evaluation.calibration import (
    expected_calibration_error,
    fit_temperature,
    reliability_bins,
    risk_coverage,
)


def calibrated(count: int = 50_000, classes: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Labels drawn from the very probabilities that are predicted."""
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.full(classes, 0.5), count)
    labels = (probabilities.cumsum(axis=1) < rng.random((count, 1))).sum(axis=1)
    return labels.clip(max=classes - 1), probabilities


def test_error_is_small_if_calibrated_and_large_if_overconfident() -> None:
    labels, probabilities = calibrated()
    assert expected_calibration_error(labels, probabilities) < 0.01
    assert expected_calibration_error(labels, softmax(np.log(probabilities) / 0.3, axis=1)) > 0.1


def test_temperature_is_recovered() -> None:
    labels, probabilities = calibrated()
    logits = np.log(probabilities + 1e-12) * 2.5
    assert fit_temperature(logits, labels) == pytest.approx(2.5, rel=0.03)
    assert fit_temperature(logits / 5, labels) == pytest.approx(0.5, rel=0.03)


def test_small_or_faultless_samples_do_not_run_to_the_bound() -> None:
    assert fit_temperature(np.log([[0.9, 0.1]]), [1]) == 1.0
    faultless = np.log(np.tile([0.9, 0.1], (40, 1)))
    assert 0.2 < fit_temperature(faultless, np.zeros(40, dtype=int)) < 1.0


def test_zero_probabilities_are_no_obstacle() -> None:
    with np.errstate(divide="ignore"):
        logits = np.log(np.tile([1.0, 0.0], (50, 1)))
    labels = np.array([0] * 45 + [1] * 5)
    assert np.isfinite(fit_temperature(logits, labels))


@pytest.mark.parametrize("logits", [np.zeros((0, 2)), np.full((20, 2), np.nan)])
def test_refuses_empty_and_nan(logits: np.ndarray) -> None:
    with pytest.raises(UserError):
        fit_temperature(logits, np.zeros(len(logits), dtype=int))
    with pytest.raises(UserError):
        reliability_bins(np.zeros(len(logits)), logits)


def test_bins_count_everything_once() -> None:
    labels, probabilities = calibrated(500)
    bins = reliability_bins(labels, probabilities)
    assert sum(row["count"] for row in bins) == 500
    assert all(row["low"] <= row["confidence"] <= row["high"] for row in bins)


def test_coverage_ends_at_the_plain_accuracy() -> None:
    labels, probabilities = calibrated(500)
    points = risk_coverage(labels, probabilities)
    accuracy = (probabilities.argmax(axis=1) == labels).mean()
    assert points[-1]["coverage"] == 1.0
    assert points[-1]["accuracy"] == pytest.approx(accuracy)
    assert points[10]["accuracy"] > accuracy
