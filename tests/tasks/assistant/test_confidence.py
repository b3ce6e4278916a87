"""The thresholds separate what can be separated, say so where it cannot, and refuse bad input."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from regraft.errors import UserError
from regraft.tasks.assistant.confidence import (
    ABSTAIN,
    ANSWER,
    ASK_BACK,
    FEATURES,
    Confidence,
    Evidence,
    fit_confidence,
)


@dataclass(frozen=True)
class Text:
    text: str
    topic: str


@dataclass(frozen=True)
class Hit:
    passage: int
    score: float


def _samples(gap: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    inside = rng.normal(gap, 1, (400, len(FEATURES)))
    right = inside[:, 0] + rng.normal(0, 0.5, 400) > gap - 0.5
    return inside, right, rng.normal(0, 1, (300, len(FEATURES)))


def _share(decided: list[str], kind: str) -> float:
    return decided.count(kind) / len(decided)


def test_questions_of_two_domains_are_told_apart_on_new_draws() -> None:
    confidence = fit_confidence(*_samples(3.0))
    inside, _, outside = _samples(3.0, seed=1)
    assert _share(confidence.decide(inside), ANSWER) >= 0.9
    assert _share(confidence.decide(outside), ABSTAIN) >= 0.9


def test_where_nothing_separates_them_both_aims_are_missed_alike() -> None:
    inside, right, outside = _samples(0.0)
    confidence = fit_confidence(inside, right, outside)
    assert confidence.abstain_below == confidence.answer_from
    missed = 1 - _share(confidence.decide(inside), ANSWER)
    assert missed == pytest.approx(1 - _share(confidence.decide(outside), ABSTAIN), abs=0.05)
    assert missed > 0.3


def test_between_the_thresholds_it_asks_back() -> None:
    confidence = fit_confidence(*_samples(3.0))
    assert confidence.abstain_below < confidence.answer_from
    line = np.linspace(-2, 5, 2000)[:, None] * np.ones(len(FEATURES))
    decided = confidence.decide(line)
    assert set(decided) == {ABSTAIN, ASK_BACK, ANSWER}
    assert decided == sorted(decided, key=[ABSTAIN, ASK_BACK, ANSWER].index)


def test_the_reported_confidence_is_calibrated_on_new_draws() -> None:
    confidence = fit_confidence(*_samples(1.5))
    inside, right, _ = _samples(1.5, seed=2)
    said = confidence.correct.probability(inside)
    surer = said >= np.median(said)
    for half in (surer, ~surer):
        assert said[half].mean() == pytest.approx(right[half].mean(), abs=0.12)


def test_it_survives_json() -> None:
    confidence = fit_confidence(*_samples(2.0))
    assert Confidence.from_json(confidence.to_json()) == confidence


@pytest.mark.parametrize("damage", ["few inside", "few outside", "nan", "none right"])
def test_what_cannot_calibrate_is_refused(damage: str) -> None:
    inside, right, outside = _samples(2.0)
    if damage == "few inside":
        inside, right = inside[:5], right[:5]
    elif damage == "few outside":
        outside = outside[:5]
    elif damage == "nan":
        inside[3, 1] = np.nan
    else:
        right = np.zeros(len(right), bool)
    with pytest.raises(UserError):
        fit_confidence(inside, right, outside)


def test_features_say_what_retrieval_found() -> None:
    evidence = Evidence(
        [Text("Inhalers open the airways.", "asthma"), Text("Rest helps.", "influenza")]
    )
    hits = [Hit(0, 0.8), Hit(1, 0.3)]
    best, margin, mean, covered, known = evidence.features("inhaler for asthma?", hits)
    assert (best, margin, mean) == pytest.approx((0.8, 0.5, 0.55))
    assert covered == known == 1.0
    stranger = evidence.features("football results and rest", hits)
    assert stranger[3] == 0.0
    assert 0 < stranger[4] < 0.5
    assert np.isfinite(evidence.features("???", hits)).all()
