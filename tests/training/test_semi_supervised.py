"""Unlabelled examples teach the head where that helps on held-out labels, and only there."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from regraft.evaluation.calibration import fit_temperature
from regraft.training import semi_supervised as room
from regraft.training.semi_supervised import semi_supervised_head
from regraft.transfer.adaptation.domains import TARGET, Domains
from regraft.transfer.adaptation.self_training import self_trained

CLASSES, DIM = 4, 24


def drawn(rng: np.random.Generator, centres: np.ndarray, counts: list[int]) -> Any:
    """Examples of clusters in a few directions that all share, of length 1."""
    labels = np.repeat(np.arange(CLASSES), counts)
    x = centres[labels] + 0.55 * rng.normal(size=(len(labels), DIM))
    return x / np.linalg.norm(x, axis=1, keepdims=True), labels


def case(seed: int, pool: list[int], per_class: int = 2) -> Any:
    rng = np.random.default_rng(seed)
    centres = np.linalg.qr(rng.normal(size=(DIM, CLASSES)))[0].T * 1.6
    known = drawn(rng, centres, [per_class] * CLASSES)
    return known, drawn(rng, centres, pool)[0], drawn(rng, centres, [60] * CLASSES)


def learned(known: Any, pool: np.ndarray, **how: Any) -> Any:
    x, labels = known
    options: dict[str, Any] = {"class_balance": 0.5, "rounds": 5, "pseudo_label_weight": 1.0}
    groups = np.array([f"g{number}" for number in range(len(x))])
    return semi_supervised_head(
        x, labels, groups, pool, fit_temperature=fit_temperature, seed=0, **(options | how)
    )


def plain(known: Any) -> Any:
    domains = room._domains(*known, known[0][:0], None)
    return room._fit(domains, None, balance=None, how={"pseudo_label_weight": 1.0})


def right(head: Any, test: Any) -> float:
    return float((head.logits(test[0]).argmax(1) == test[1]).mean())


def test_a_pool_of_clusters_makes_few_labels_better() -> None:
    gains = []
    for seed in range(6):
        known, pool, test = case(seed, [80] * CLASSES)
        found = learned(known, pool)
        gains.append(right(found.head or plain(known), test) - right(plain(known), test))
    assert np.mean(gains) > 0.03 and min(gains) > -0.02


def test_answers_that_mislead_are_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where self-training swaps two classes."""

    def swapped(domains: Domains, known: np.ndarray, **how: Any) -> np.ndarray:
        found: np.ndarray = self_trained(domains, known, **how)[:, [1, 0, 2, 3]]
        return found

    monkeypatch.setattr(room, "self_trained", swapped)
    known, pool, _ = case(0, [80] * CLASSES, per_class=6)
    found = learned(known, pool)
    assert found.head is None and found.card["chosen"] == "labelled_only"
    losses = {one["class_balance"]: one["held_out_loss"] for one in found.card["candidates"]}
    assert losses[None] == min(losses.values()) and losses[0.5] > losses[None]


def test_the_head_is_calibrated_and_the_card_is_json() -> None:
    known, pool, test = case(3, [80] * CLASSES, per_class=6)
    found = learned(known, pool)
    assert found.card["chosen"] == "self_training" and found.card["unlabelled"] == 320
    json.dumps(found.card, allow_nan=False)
    logits = found.head.logits(test[0])
    assert 0.5 < fit_temperature(logits, test[1]) < 2


def test_without_a_held_out_example_nothing_is_believed() -> None:
    known, pool, _ = case(0, [40] * CLASSES, per_class=1)
    found = learned(known, pool)
    assert found.head is None and found.card["candidates"][0]["held_out_accuracy"] is None


def test_the_largest_pool_that_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "MOST_UNLABELLED", 50)
    known, pool, _ = case(0, [80] * CLASSES)
    assert learned(known, pool).card["unlabelled"] == 50
    assert room._evenly(5, 50).tolist() == [0, 1, 2, 3, 4]


def test_a_head_that_judges_a_fold_has_not_seen_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither its examples nor their augmented views: held out, their labels are without effect."""
    (x, labels), pool, _ = case(0, [20] * CLASSES, per_class=5)
    views = np.repeat(x[:, None], 3, axis=1)
    folds = np.arange(len(x)) % 5
    answers = []
    for flipped in (0, 1):
        other = labels.copy()
        other[folds == 2] = (other[folds == 2] + flipped) % CLASSES
        domains = room._domains(x, other, pool, views)
        how = {"rounds": 2, "pseudo_label_weight": 1.0}

        def fit(left_out: np.ndarray, domains: Domains = domains, how: Any = how) -> Any:
            assert not left_out[domains.domain == TARGET].any()
            return room._fit(domains, left_out, balance=0.5, how=how)

        answers.append(room._held_out(domains, folds, fit)[folds == 2])
    np.testing.assert_allclose(*answers, rtol=1e-4, atol=1e-4)
