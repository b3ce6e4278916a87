"""Every rule of the gate, in a case where it holds and one where it does not."""

from typing import Any

import numpy as np
import pytest

from regraft.errors import UserError
from regraft.evaluation.gate import Check, Rules, decide, with_check
from regraft.evaluation.metrics import classification_metrics
from regraft.evaluation.paired_bootstrap import paired_bootstrap
from regraft.evaluation.pairs import pair
from regraft.evaluation.sign_flip import sign_flip_test

from .paired import predictions

FLOOR = {"accuracy": 0.6, "macro_f1": 0.5}
ALL = Rules(
    max_slice_drop_pp=5.0, max_source_drop_pp=1.5, max_ece_increase=0.05, max_latency_ratio=2.0
)
FINE: dict[str, Any] = {
    "low": 0.01,
    "high": 0.05,
    "p_value": 0.001,
    "count": 200,
    "groups": 180,
    "slices": [{"slice": "class", "value": "rust", "count": 40, "candidate": 0.9, "champion": 0.9}],
    "classes": [],
    "source": {"count": 100, "candidate": 0.97, "champion": 0.97},
    "ece": {"count": 200, "candidate": 0.03, "champion": 0.03},
    "latency": {"candidate": 10.0, "champion": 10.0},
}
GOOD = {"accuracy": 0.9, "interval": {"accuracy": [0.85, 0.95]}}


def gate(
    candidate: np.ndarray, champion: np.ndarray | None, labels: np.ndarray, **options: Any
) -> Any:
    comparison = None
    if champion is not None:
        pairs = pair(labels, candidate, champion)
        comparison = paired_bootstrap(pairs) | sign_flip_test(pairs)
        comparison |= {"count": len(labels), "groups": len(labels)}
    return decide(
        candidate=classification_metrics(labels, np.eye(4)[candidate]),
        floor=FLOOR,
        majority_accuracy=0.25,
        comparison=comparison,
        **options,
    )


def judged(part: dict[str, Any] | None = None, **changes: Any) -> Any:
    """What the gate says when everything is fine except these parts of the comparison."""
    arguments: dict[str, Any] = {
        "candidate": GOOD,
        "floor": {"accuracy": 0.5},
        "majority_accuracy": 0.3,
        "comparison": FINE | (part or {}),
        "rules": ALL,
    }
    return decide(**(arguments | changes))


def test_a_better_candidate_is_promoted() -> None:
    labels, champion = predictions(0.75)
    decision = gate(predictions(0.9, seed=1)[1], champion, labels)
    assert decision.outcome == "promote"
    assert decision.interval[0] > 0
    assert decision.as_dict()["interval"] == list(decision.interval)
    assert all(check["passed"] for check in decision.as_dict()["checks"])


def test_a_degraded_candidate_is_held() -> None:
    labels, champion = predictions(0.9)
    decision = gate(predictions(0.75, seed=1)[1], champion, labels)
    assert decision.outcome == "hold"
    assert "worse" in decision.reason


def test_an_identical_candidate_is_held() -> None:
    labels, champion = predictions(0.9)
    assert gate(champion, champion, labels).outcome == "hold"


def test_a_gain_that_may_be_luck_is_held() -> None:
    labels, champion = predictions(0.85, count=100)
    candidate = champion.copy()
    candidate[np.flatnonzero(champion != labels)[0]] = labels[np.flatnonzero(champion != labels)[0]]
    decision = gate(candidate, champion, labels)
    assert decision.outcome == "hold"
    assert "not shown" in decision.reason


def test_three_mended_examples_are_luck_though_their_interval_is_above_zero() -> None:
    labels, champion = predictions(0.5, count=6)
    champion = np.where(np.arange(6) < 3, (labels + 1) % 4, labels)
    decision = gate(labels, champion, labels)
    assert decision.interval[0] >= 0
    assert decision.outcome == "hold"
    assert {check.name for check in decision.checks if not check.passed} >= {"luck"}


def test_min_gain_raises_the_bar() -> None:
    labels, champion = predictions(0.75)
    candidate = predictions(0.9, seed=1)[1]
    assert gate(candidate, champion, labels, rules=Rules(min_gain=0.01)).outcome == "promote"
    assert gate(candidate, champion, labels, rules=Rules(min_gain=0.2)).outcome == "hold"


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
    decision = decide(candidate=constant, floor={}, majority_accuracy=0.9, comparison=None)
    assert decision.outcome == "hold"
    assert "majority" in decision.reason


def test_the_source_may_lose_no_more_than_its_budget_against_the_probe() -> None:
    limit = Rules(max_source_drop_pp=1.5)
    for after, outcome in ((0.97, "first"), (0.96, "hold")):
        probe = {"candidate": after, "probe": 0.98}
        assert judged(probe=probe).outcome == "promote"  # the champion counts
        alone = decide(candidate=GOOD, floor={}, majority_accuracy=0.3, comparison=None,
                       rules=limit, probe=probe)  # fmt: skip
        assert alone.outcome == outcome
        assert ("source accuracy" in alone.reason) == (outcome == "hold")


def a_slice(count: int, candidate: float, champion: float = 0.9, value: str = "rust") -> Any:
    return {"slice": "class", "value": value, "count": count, "candidate": candidate,
            "champion": champion}  # fmt: skip


def a_class(lost: int, won: int = 0, count: int = 5, value: str = "rust") -> Any:
    """Of which the champion answers all but `won`."""
    return {"value": value, "domain": "field", "count": count, "groups": count, "lost": lost,
            "won": won, "candidate": 1 - lost / count, "champion": 1 - won / count}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "fine", "broken"),
    [
        ("evidence", {"groups": 6}, {"groups": 5}),
        ("gain", {"low": 0.0001}, {"low": 0.0}),
        ("luck", {"p_value": 0.03}, {"p_value": 0.031}),
        # 5 points of 40 are two examples, and one more is slack
        ("slices", {"slices": [a_slice(40, 0.825)]}, {"slices": [a_slice(40, 0.8)]}),
        ("slices", {"slices": [a_slice(9, 0.0)]}, {"slices": [a_slice(10, 0.0)]}),
        ("classes", {"classes": [a_class(3)]}, {"classes": [a_class(4)]}),
        ("classes", {"classes": [a_class(5, 1, 9)]}, {"classes": [a_class(6, 1, 9)]}),
        # beyond luck, but 5 points of 100 and one example
        ("classes", {"classes": [a_class(6, 0, 100)]}, {"classes": [a_class(7, 0, 100)]}),
        (
            "source",
            {"source": {"count": 150, "candidate": 0.96, "champion": 0.98}},
            {"source": {"count": 150, "candidate": 0.95, "champion": 0.98}},
        ),
        (
            "calibration",
            {"ece": {"count": 200, "candidate": 0.0799, "champion": 0.03}},
            {"ece": {"count": 200, "candidate": 0.0801, "champion": 0.03}},
        ),
        (
            "latency",
            {"latency": {"candidate": 20.0, "champion": 10.0}},
            {"latency": {"candidate": 20.1, "champion": 10.0}},
        ),
    ],
)
def test_each_rule_holds_at_its_limit(
    name: str, fine: dict[str, Any], broken: dict[str, Any]
) -> None:
    assert judged(fine).outcome == "promote"
    decision = judged(broken)
    assert decision.outcome == "hold"
    assert [check.name for check in decision.checks if check.passed is False] == [name]


def test_the_slice_that_lost_most_is_named_and_the_others_counted() -> None:
    rows = [a_slice(40, 0.7), a_slice(40, 0.5, value="blight"), a_slice(40, 0.95, value="mosaic")]
    reason = judged({"slices": rows}).reason
    assert reason.startswith("class blight: 90.0% -> 50.0% of 40, a drop of 40.0 points")
    assert "1 more of 3 slices" in reason


def test_the_class_that_was_lost_is_named_with_what_it_was() -> None:
    reason = judged({"classes": [a_class(4, value="blight"), a_class(5), a_class(0)]}).reason
    assert reason.startswith("class rust of field: 100.0% -> 0.0% of 5, a drop of 100.0 points")
    assert "5 lost, 0 won: p 0.031" in reason and "1 more of 3 classes" in reason


def test_what_cannot_be_judged_is_said_and_holds_nothing() -> None:
    small = {"slices": [a_slice(9, 0.1)], "ece": {"count": 49, "candidate": 0.9, "champion": 0.0}}
    decision = judged(small)
    assert decision.outcome == "promote"
    unjudged = {check.name: check.words for check in decision.checks if check.passed is None}
    assert set(unjudged) == {"slices", "classes", "calibration"}
    assert "no slice has 10 examples" in unjudged["slices"]


def test_too_few_unseen_examples_hold_with_that_reason() -> None:
    decision = judged(None, comparison={"count": 4, "groups": 3, "left_out": 90})
    assert decision.outcome == "hold"
    assert "too few" in decision.reason and "90 more were left out" in decision.reason
    assert decision.interval is None


def test_a_pinned_champion_stays_whatever_the_figures_say() -> None:
    decision = judged(None, pinned="audit until Friday")
    assert decision.outcome == "hold"
    assert decision.reason == "the champion is pinned: audit until Friday"
    assert decision.interval == (0.01, 0.05)


def test_further_failures_are_named_in_the_reason() -> None:
    decision = judged({"low": -0.02, "p_value": 0.4, "latency": {"candidate": 9.0, "champion": 1}})
    assert decision.reason.endswith("(also failed: luck, latency)")


def test_a_later_check_turns_a_promotion_into_a_hold() -> None:
    late = Check("fresh process", False, None, None, "does not load")
    assert with_check(judged(), Check("fresh process", True, 1.0, 9.0, "")).outcome == "promote"
    decision = with_check(judged(), late)
    assert (decision.outcome, decision.reason) == ("hold", "does not load")
    assert decision.checks[-1] == late


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
        {"comparison": FINE | {"low": float("nan")}},
        {"comparison": {}},
        {"comparison": FINE | {"low": 0.2, "high": 0.1}},
        {"comparison": FINE | {"p_value": float("nan")}},
        {"comparison": FINE | {"p_value": None}},
        {"comparison": FINE | {"slices": None}},
        {"comparison": FINE | {"classes": None}},
        {"comparison": FINE | {"classes": [a_class(4) | {"lost": None}]}},
        {"comparison": FINE | {"slices": [a_slice(40, float("nan"))]}},
        {"comparison": FINE | {"source": {"count": 10, "candidate": 0.9}}},
        {"comparison": FINE | {"ece": {"count": 90, "candidate": float("nan"), "champion": 0.1}}},
        {"comparison": FINE | {"latency": {"candidate": 1.0, "champion": 0.0}}},
        {"comparison": {key: FINE[key] for key in FINE if key != "latency"}},
        {"rules": Rules(min_gain=float("nan"))},
        {"rules": Rules(max_slice_drop_pp=float("nan"))},
    ],
)
def test_gate_refuses_missing_evidence(broken: dict[str, Any]) -> None:
    assert judged().outcome == "promote"
    with pytest.raises(UserError):
        judged(None, **broken)
