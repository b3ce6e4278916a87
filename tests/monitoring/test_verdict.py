"""Correction, effect and persistence: each of the three can hold an alarm back."""

from __future__ import annotations

from dataclasses import replace

import pytest

from regraft.errors import UserError
from regraft.monitoring.monitors import Test as Measurement
from regraft.monitoring.verdict import holm, judge, not_judged

SHIFT = Measurement("embeddings", "embeddings", 0.1, 0.001, 0.9, 0.7, "AUC")
CALM = replace(SHIFT, name="calm", p_value=0.6, effect=0.5)
DEFECT = Measurement("quality", "inputs are not blank", 9, None, 0.3, 0.05, "share", "30 of 100")
RULE = {"alpha": 0.01, "persistence": 2}


def test_a_shifted_window_is_drift_only_if_the_one_before_was_shifted() -> None:
    first = judge([SHIFT, CALM], **RULE)
    assert first.shifted and not first.drifted
    assert "not yet for 2 windows" in first.reason
    second = judge([SHIFT, CALM], **RULE, before=[False, True])
    assert second.shifted and second.drifted
    assert "embeddings 0.90 AUC" in second.reason
    assert not judge([SHIFT, CALM], **RULE, before=[True, False]).drifted
    assert not judge([CALM], **RULE, before=[True, True]).drifted


def test_the_reason_tells_what_matters_first() -> None:
    width = replace(SHIFT, monitor="inputs", name="width", effect=29_000.0, note="always 256")
    reason = judge([width, SHIFT], alpha=0.05, persistence=1).reason
    assert reason.index("embeddings 0.90") < reason.index("width over 100")
    assert "29000" not in reason


def test_persistence_of_one_and_of_three() -> None:
    assert judge([SHIFT], alpha=0.01, persistence=1).drifted
    assert not judge([SHIFT], alpha=0.01, persistence=3, before=[True]).drifted
    assert judge([SHIFT], alpha=0.01, persistence=3, before=[False, True, True]).drifted


def test_a_window_given_alone_decides() -> None:
    verdict = judge([SHIFT], **RULE, alone=True)
    assert verdict.drifted and "one window was given" in verdict.reason


def test_a_small_effect_does_not_fire_however_significant() -> None:
    assert not judge([replace(SHIFT, effect=0.69)], **RULE).shifted


def test_what_fires_alone_does_not_fire_among_many() -> None:
    near = replace(SHIFT, p_value=0.004)
    assert judge([near], **RULE).shifted
    assert not judge([near, CALM, CALM], **RULE).shifted


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []
    assert holm([0.9, 0.8]) == [1.0, 1.0]


def test_a_defect_is_named_and_is_no_drift() -> None:
    verdict = judge([DEFECT, CALM], **RULE, before=[True])
    assert not verdict.shifted and not verdict.drifted
    assert verdict.defects == ["inputs are not blank: 30 of 100"]
    few = judge([replace(DEFECT, effect=0.05)], **RULE)
    assert few.defects == []


def test_what_is_not_judged_says_why_and_nothing_else() -> None:
    verdict = not_judged("3 answers, 30 are needed", [DEFECT])
    assert (verdict.drifted, verdict.shifted, verdict.judged) == (False, False, False)
    assert verdict.reason == "not judged: 3 answers, 30 are needed"
    assert verdict.defects


@pytest.mark.parametrize("field", ["p_value", "effect"])
def test_nan_is_refused(field: str) -> None:
    with pytest.raises(UserError, match="NaN"):
        judge([replace(SHIFT, **{field: float("nan")})], **RULE)
