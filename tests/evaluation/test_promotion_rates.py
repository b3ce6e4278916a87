"""Simulated test sets: how often luck is promoted, and how often what is better."""

from __future__ import annotations

from typing import Any

import pytest

from .simulation import (
    FIELD,
    LAB,
    LEANING,
    LEANING_FIELD,
    LOST_FIELD_CLASS,
    Domains,
    class_held,
    promoted,
    reasons,
)


@pytest.mark.parametrize(
    "domains",
    [
        {"lab": (6, 0.7, 0.7)},
        {"lab": (15, 0.7, 0.7)},
        {"lab": (30, 0.8, 0.8)},
        {"lab": (60, 0.97, 0.97), "field": (15, 0.6, 0.6)},
    ],
    ids=["6 rows", "15 rows", "30 rows", "two domains"],
)
def test_the_same_model_with_another_seed_is_hardly_ever_promoted(domains: Domains) -> None:
    assert promoted(domains, times=200) <= 0.05


@pytest.mark.parametrize("other", [LEANING[::-1], 0.34], ids=["another class", "anywhere"])
def test_to_be_as_wrong_in_another_way_is_no_gain(other: Any) -> None:
    domains = {"lab": LAB, "field": (15, LEANING, other)}
    assert promoted(domains, times=100, lab_shared=1.0) <= 0.05


@pytest.mark.parametrize(
    ("domains", "errors"),
    [
        (LEANING_FIELD, {"lab_shared": 1.0}),
        (FIELD, {"shared": 0.5, "lab_shared": 1.0}),
        ({"lab": (200, 0.75, 0.9)}, {"shared": 0.25}),
        ({"lab": (30, 0.5, 0.95)}, {}),
    ],
    ids=[
        "field: one class for all to 80 % of 15 rows",
        "field 34 to 83 % of 15 rows",
        "75 to 90 % of 200 rows",
        "50 to 95 % of 30 rows",
    ],
)
def test_a_truly_better_model_is_promoted(domains: Domains, errors: dict[str, Any]) -> None:
    assert promoted(domains, times=100, **errors) >= 0.8


@pytest.mark.parametrize(
    ("domains", "errors", "rule"),
    [
        ({"lab": (200, 0.9, 0.8)}, {}, "gain"),
        ({"lab": (300, 0.7, 0.95)}, {"broken": "rust"}, "slices"),
        (LOST_FIELD_CLASS, {"lab_shared": 1.0}, "classes"),
        ({"lab": (150, 0.97, 0.85), "field": (30, 0.34, 0.95)}, {}, "source"),
    ],
    ids=[
        "worse",
        "better but one class lost",
        "better but five photos lost",
        "better but the source forgotten",
    ],
)
def test_a_model_that_does_harm_is_held(
    domains: Domains, errors: dict[str, Any], rule: str
) -> None:
    assert promoted(domains, times=40, **errors) <= 0.05
    assert reasons(domains, times=40, **errors)[rule] >= 0.9


@pytest.mark.parametrize("count", range(5, 10))
def test_a_small_class_is_hardly_ever_lost_by_luck_and_seen_when_it_is(count: int) -> None:
    assert max(class_held(count, same / 20, same / 20) for same in range(21)) <= 0.033
    assert class_held(count, 0.95, 0.0) >= 0.95
