from typing import Any

import numpy as np
import pytest

from regraft.errors import UserError
from regraft.evaluation.comparison import decide, paired_bootstrap
from regraft.evaluation.metrics import classification_metrics

FLOOR = {"accuracy": 0.6, "macro_f1": 0.5}


def predictions(accuracy: float, count: int = 600, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Labels of four classes and predictions of which about `accuracy` are right."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 4
    wrong = rng.random(count) >= accuracy
    return labels, np.where(wrong, (labels + rng.integers(1, 4, count)) % 4, labels)


def gate(
    candidate: np.ndarray, champion: np.ndarray | None, labels: np.ndarray, **options: Any
) -> Any:
    difference = None if champion is None else paired_bootstrap(labels, candidate, champion)
    return decide(
        candidate=classification_metrics(labels, np.eye(4)[candidate]),
        floor=FLOOR,
        majority_accuracy=0.25,
        difference=difference,
        **options,
    )


def test_a_better_candidate_is_promoted() -> None:
    labels, champion = predictions(0.75)
    decision = gate(predictions(0.9, seed=1)[1], champion, labels)
    assert decision.outcome == "promote"
    assert decision.interval[0] > 0
    assert decision.as_dict()["interval"] == list(decision.interval)


def test_a_degraded_candidate_is_held() -> None:
    labels, champion = predictions(0.9)
    decision = gate(predictions(0.75, seed=1)[1], champion, labels)
    assert decision.outcome == "hold"
    assert "worse" in decision.reason


def test_an_identical_candidate_is_held() -> None:
    labels, champion = predictions(0.9)
    assert gate(champion, champion, labels).outcome == "hold"
    result = paired_bootstrap(labels, champion, champion)
    assert result == {"difference": 0.0, "low": 0.0, "high": 0.0, "p_better": 0.0}


def test_a_gain_that_may_be_luck_is_held() -> None:
    labels, champion = predictions(0.85, count=100)
    candidate = champion.copy()
    candidate[np.flatnonzero(champion != labels)[0]] = labels[np.flatnonzero(champion != labels)[0]]
    decision = gate(candidate, champion, labels)
    assert decision.outcome == "hold"
    assert "not shown" in decision.reason


def test_min_gain_raises_the_bar() -> None:
    labels, champion = predictions(0.75)
    candidate = predictions(0.9, seed=1)[1]
    assert gate(candidate, champion, labels, min_gain=0.01).outcome == "promote"
    assert gate(candidate, champion, labels, min_gain=0.2).outcome == "hold"


def test_the_first_champion_must_reach_the_floor() -> None:
    labels, good = predictions(0.9)
    assert gate(good, None, labels).outcome == "first"
    bad = gate(predictions(0.5)[1], None, labels)
    assert (bad.outcome, bad.interval) == ("hold", None)
    assert "floor" in bad.reason


def test_better_than_the_champion_is_not_enough_below_the_floor() -> None:
    labels, champion = predictions(0.3)
    decision = gate(predictions(0.5, seed=1)[1], champion, labels)
    assert decision.outcome == "hold"
    assert "floor" in decision.reason
    assert decision.interval[0] > 0


def test_must_beat_the_majority_class() -> None:
    labels = np.array([0] * 90 + [1] * 10)
    constant = classification_metrics(labels, np.eye(2)[np.zeros(100, dtype=int)])
    decision = decide(candidate=constant, floor={}, majority_accuracy=0.9, difference=None)
    assert decision.outcome == "hold"
    assert "majority" in decision.reason


def test_pairing_is_sharper_than_two_separate_intervals() -> None:
    labels, champion = predictions(0.8)
    candidate = champion.copy()
    mended = np.flatnonzero(champion != labels)[:12]
    candidate[mended] = labels[mended]
    assert paired_bootstrap(labels, candidate, champion)["low"] > 0


def test_groups_count_as_one_vote() -> None:
    labels, champion = predictions(0.5, count=40)
    candidate = champion.copy()
    candidate[:20] = labels[:20]
    groups = np.where(np.arange(40) < 20, "one leaf", np.arange(40).astype(str))
    assert paired_bootstrap(labels, candidate, champion)["low"] > 0
    assert paired_bootstrap(labels, candidate, champion, groups=groups)["low"] == 0


def test_macro_f1_and_probabilities() -> None:
    labels, champion = predictions(0.7)
    candidate = predictions(0.9, seed=1)[1]
    by_class = paired_bootstrap(labels, candidate, champion, metric="macro_f1")
    by_probability = paired_bootstrap(
        labels, np.eye(4)[candidate], np.eye(4)[champion], metric="macro_f1"
    )
    assert by_class == by_probability
    assert by_class["low"] < by_class["difference"] < by_class["high"]
    assert by_class["p_better"] == 1.0


@pytest.mark.parametrize(
    ("labels", "candidate", "champion"),
    [
        ([], [], []),
        ([0, 1], [0, 1], [0]),
        ([0, 1], [0, np.nan], [0, 1]),
        ([0, 1], [[np.nan, 1], [0, 1]], [0, 1]),
        ([0, -1], [0, 1], [0, 1]),
        ([0], [0], [1]),
    ],
)
def test_comparison_refuses_bad_input(labels: Any, candidate: Any, champion: Any) -> None:
    with pytest.raises(UserError):
        paired_bootstrap(labels, candidate, champion)


def test_unknown_metric_is_a_programming_error() -> None:
    with pytest.raises(ValueError, match="macro_f1"):
        paired_bootstrap([0, 1], [0, 1], [0, 1], metric="auc")


@pytest.mark.parametrize(
    "broken",
    [
        {"candidate": {}},
        {"candidate": {"accuracy": float("nan"), "interval": {"accuracy": [0.8, 0.9]}}},
        {"candidate": {"accuracy": 0.9, "interval": {"accuracy": [float("nan"), 0.9]}}},
        {"candidate": {"accuracy": 0.9}},
        {"candidate": {"accuracy": 90.0, "interval": {"accuracy": [0.8, 0.9]}}},
        {"floor": {"accuracy": float("nan")}},
        {"floor": {"macro_f1": 0.5}},
        {"majority_accuracy": float("nan")},
        {"majority_accuracy": None},
        {"difference": {"low": float("nan"), "high": 0.1}},
        {"difference": {}},
        {"difference": {"low": 0.2, "high": 0.1}},
        {"min_gain": float("nan")},
    ],
)
def test_gate_refuses_missing_evidence(broken: dict[str, Any]) -> None:
    arguments: dict[str, Any] = {
        "candidate": {"accuracy": 0.9, "interval": {"accuracy": [0.85, 0.95]}},
        "floor": {"accuracy": 0.5},
        "majority_accuracy": 0.3,
        "difference": {"low": 0.01, "high": 0.05},
    }
    assert decide(**arguments).outcome == "promote"
    with pytest.raises(UserError):
        decide(**(arguments | broken))
