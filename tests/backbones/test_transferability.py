import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import multivariate_normal

from regraft.backbones.transferability import log_maximum_evidence
from regraft.errors import UserError


def _data(n, dim, signal, seed=0, classes=3):
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    means = rng.normal(size=(classes, dim))
    return signal * means[labels] + rng.normal(size=(n, dim)), labels


def _brute_force(x, labels):
    """Maximise the dense marginal likelihood y ~ N(0, X X' / alpha + I / beta) numerically."""

    def best(y):
        def negative(logs):
            covariance = x @ x.T * np.exp(-logs[0]) + np.eye(len(y)) * np.exp(-logs[1])
            return -multivariate_normal.logpdf(y, np.zeros(len(y)), covariance)

        starts = [(a, b) for a in (1, 5) for b in (1, 4)]
        runs = [minimize(negative, s, method="Nelder-Mead", tol=1e-6) for s in starts]
        return -min(run.fun for run in runs)

    return np.mean([best((labels == c).astype(float)) for c in np.unique(labels)]) / len(x)


@pytest.mark.parametrize(("n", "dim"), [(30, 4), (16, 40)])
def test_equals_brute_force_evidence(n, dim):
    x, labels = _data(n, dim, signal=1.0)
    assert log_maximum_evidence(x, labels) == pytest.approx(_brute_force(x, labels), abs=1e-4)


def test_more_signal_scores_higher():
    scores = [log_maximum_evidence(*_data(120, 30, signal)) for signal in (0.0, 0.3, 1.0, 3.0)]
    assert scores == sorted(scores)
    assert scores[0] < scores[-1] - 0.5


def test_does_not_depend_on_scale_or_label_names():
    x, labels = _data(60, 10, 0.5)
    names = np.array(["rust", "scab", "healthy"])[labels]
    assert log_maximum_evidence(1000 * x, names) == pytest.approx(log_maximum_evidence(x, labels))


def test_is_finite_when_features_explain_the_labels_fully():
    labels = np.repeat([0, 1], 20)
    assert np.isfinite(log_maximum_evidence(np.eye(2)[labels], labels))
    x, labels = _data(20, 200, 5.0, classes=2)
    assert np.isfinite(log_maximum_evidence(np.vstack([x, x]), np.tile(labels, 2)))


@pytest.mark.parametrize(
    ("x", "labels"),
    [
        (np.zeros((4, 2)), [0, 0, 1, 1]),
        (np.full((4, 2), np.nan), [0, 0, 1, 1]),
        (np.ones((4, 2)), [0, 0, 0, 0]),
        (np.ones((4, 2)), [0, 1, 0]),
        (np.empty((0, 2)), []),
    ],
)
def test_refuses_what_has_no_score(x, labels):
    with pytest.raises(UserError):
        log_maximum_evidence(x, labels)
