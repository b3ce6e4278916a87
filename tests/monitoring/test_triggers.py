"""Same report never twice, a cool-down, a budget per week, one at a time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from regraft.monitoring.triggers import Permission, enough_to_learn, may_retrain
from regraft.recipe.retraining import RetrainingOptions

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
OPTIONS = RetrainingOptions(cooldown_hours=24, most_per_week=2)


def retraining(report: str, hours_ago: float, *, ended: bool = True) -> dict[str, Any]:
    started = (NOW - timedelta(hours=hours_ago)).isoformat()
    return {"report_id": report, "started": started, "ended": started if ended else None}


def asked(*before: dict[str, Any], report: str = "new") -> Permission:
    return may_retrain(before, NOW, report, OPTIONS)


def test_the_first_drift_retrains() -> None:
    assert asked() == Permission(True, "drift, and nothing stands against a retraining")


def test_a_report_leads_to_one_retraining() -> None:
    found = asked(retraining("new", 500))
    assert not found.allowed
    assert "drift report new has led to a retraining already" in found.reason


def test_what_was_killed_goes_on_in_spite_of_cooldown_and_budget() -> None:
    found = asked(retraining("a", 30), retraining("b", 40), retraining("new", 1, ended=False))
    assert found.allowed
    assert "goes on" in found.reason


def test_one_at_a_time() -> None:
    found = asked(retraining("other", 100, ended=False))
    assert not found.allowed
    assert "drift report other has not ended" in found.reason


@pytest.mark.parametrize(("hours", "allowed"), [(0, False), (23.9, False), (24, True), (25, True)])
def test_the_cool_down(hours: float, allowed: bool) -> None:
    found = asked(retraining("a", hours))
    assert found.allowed is allowed
    assert allowed or "the cool-down of 24 h ends in" in found.reason


@pytest.mark.parametrize(("days", "allowed"), [(6.9, False), (7, True)])
def test_the_budget_of_a_week(days: float, allowed: bool) -> None:
    found = asked(retraining("a", 30), retraining("b", days * 24))
    assert found.allowed is allowed
    assert allowed or "2 retrainings within seven days, 2 are allowed" in found.reason


def test_a_clock_that_was_set_back_a_year_stops_nothing() -> None:
    assert asked(retraining("a", -24 * 365)).allowed
    assert not asked(retraining("a", -0.1)).allowed


def test_too_few_new_examples_are_not_learned_from() -> None:
    options = RetrainingOptions(min_new_examples=30)
    assert not enough_to_learn(29, 10, options).allowed
    assert enough_to_learn(30, 0, options).allowed


def test_without_labels_the_recipe_decides() -> None:
    ask = RetrainingOptions(when_unlabelled="ask")
    assert not enough_to_learn(100, 0, ask).allowed
    assert "what to label" in enough_to_learn(100, 0, ask).reason
    assert enough_to_learn(100, 1, ask).allowed
    assert enough_to_learn(100, 0, RetrainingOptions(when_unlabelled="adapt")).allowed
