"""The thresholds separate what can be separated, say so where it cannot, and refuse bad input."""

from __future__ import annotations

from dataclasses import dataclass, replace

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
    Sample,
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
    named: float


def _samples(gap: float, seed: int = 0) -> tuple[Sample, np.ndarray]:
    """Passages that have no topic."""
    rng = np.random.default_rng(seed)
    inside = rng.normal(gap, 1, (400, len(FEATURES)))
    right = inside[:, 0] + rng.normal(0, 0.5, 400) > gap - 0.5
    sample = Sample(inside, right, np.ones(400, bool), np.ones(400, bool), inside[:0])
    return sample, rng.normal(0, 1, (300, len(FEATURES)))


def _with_topics(gap: float, seed: int = 0) -> tuple[Sample, np.ndarray]:
    """Without its topic a question looks like one of the domain but for the last feature."""
    sample, outside = _samples(5.0, seed)
    away = _samples(5.0, seed + 100)[0].features
    away[:, -1] -= gap
    return replace(sample, without_topic=away), outside


def _share(decided: list[str], kind: str) -> float:
    return decided.count(kind) / len(decided)


def test_questions_of_two_domains_are_told_apart_on_new_draws() -> None:
    confidence = fit_confidence(*_samples(3.0))
    inside, outside = _samples(3.0, seed=1)
    assert _share(confidence.decide(inside.features), ANSWER) >= 0.9
    assert _share(confidence.decide(outside), ABSTAIN) >= 0.9


def test_where_nothing_separates_them_both_aims_are_missed_alike() -> None:
    inside, outside = _samples(0.0)
    confidence = fit_confidence(inside, outside)
    assert confidence.abstain_below == confidence.answer_from
    missed = 1 - _share(confidence.decide(inside.features), ANSWER)
    assert missed == pytest.approx(1 - _share(confidence.decide(outside), ABSTAIN), abs=0.05)
    assert missed > 0.3


def test_between_the_thresholds_it_asks_back() -> None:
    confidence = fit_confidence(*_samples(3.0))
    assert confidence.abstain_below < confidence.answer_from
    line = np.linspace(-2, 5, 2000)[:, None] * np.ones(len(FEATURES))
    decided = confidence.decide(line)
    assert set(decided) == {ABSTAIN, ASK_BACK, ANSWER}
    assert decided == sorted(decided, key=[ABSTAIN, ASK_BACK, ANSWER].index)


@pytest.mark.parametrize(("gap", "most"), [(6.0, 0.02), (0.0, 1.0)])
def test_the_answer_about_another_topic_is_held_back_where_it_can_be_told(
    gap: float, most: float
) -> None:
    confidence = fit_confidence(*_with_topics(gap))
    inside, outside = _with_topics(gap, seed=1)
    assert _share(confidence.decide(inside.without_topic), ANSWER) <= most
    assert _share(confidence.decide(inside.features), ANSWER) >= 0.9
    assert _share(confidence.decide(outside), ABSTAIN) >= 0.9
    unguarded = replace(confidence, on_topic_from=0.0)
    assert _share(unguarded.decide(inside.without_topic), ANSWER) > 0.9


def test_thresholds_are_set_on_questions_as_they_were_asked() -> None:
    inside, outside = _with_topics(1.0)
    both = Sample(
        np.concatenate([inside.features, inside.features - 2.0]),
        np.concatenate([inside.right, np.zeros(400, bool)]),
        np.ones(800, bool),
        np.arange(800) < 400,
        inside.without_topic,
    )
    confidence = fit_confidence(both, outside)
    alike = fit_confidence(replace(both, as_asked=np.ones(800, bool)), outside)
    shares = [_share(one.decide(inside.features), ANSWER) for one in (confidence, alike)]
    assert shares[0] == pytest.approx(0.95, abs=0.01)
    assert shares[1] != pytest.approx(0.95, abs=0.02)


def test_the_reported_confidence_is_calibrated_on_new_draws() -> None:
    confidence = fit_confidence(*_samples(2.5))
    inside, _ = _samples(2.5, seed=2)
    said = confidence.correct.probability(inside.features)
    surer = said >= np.median(said)
    for half in (surer, ~surer):
        assert said[half].mean() == pytest.approx(inside.right[half].mean(), abs=0.12)


def test_it_survives_json() -> None:
    confidence = fit_confidence(*_samples(2.0))
    assert Confidence.from_json(confidence.to_json()) == confidence


@pytest.mark.parametrize("damage", ["few inside", "few outside", "nan", "none right"])
def test_what_cannot_calibrate_is_refused(damage: str) -> None:
    inside, outside = _samples(2.0)
    if damage == "few inside":
        inside = replace(inside, features=inside.features[:5])
    elif damage == "few outside":
        outside = outside[:5]
    elif damage == "nan":
        inside.features[3, 1] = np.nan
    else:
        inside = replace(inside, right=np.zeros(400, bool))
    with pytest.raises(UserError):
        fit_confidence(inside, outside)


def test_features_say_what_retrieval_found() -> None:
    evidence = Evidence(
        [Text("Inhalers open the airways.", "asthma"), Text("Rest helps.", "influenza")]
    )
    hits = [Hit(0, 0.8, 0.9), Hit(1, 0.3, 0.1)]
    best, margin, mean, covered, known, named, literal = evidence.features(
        "inhaler for asthma?", hits
    )
    assert (best, margin, mean) == pytest.approx((0.8, 0.5, 0.55))
    assert covered == known == 1.0
    assert (named, literal) == (0.9, 1.0)
    stranger = evidence.features("football results and rest", hits)
    assert stranger[3] == stranger[6] == 0.0
    assert 0 < stranger[4] < 0.5
    assert np.isfinite(evidence.features("???", hits)).all()
    away = evidence.features("rest or inhaler", hits[1:], gone={"asthma"})
    assert 0 < away[4] == away[3] < 0.5
