"""Candidates are compared without target labels; one that forgets the source is held back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from regraft.evaluation.label_free import VALIDATORS
from regraft.training.adaptation import ADAPTIVE, ENOUGH_LABELS, Adapted, adapt_head
from regraft.transfer.adaptation.domains import COMPOSED, SOURCE, TARGET, Domains
from tests.transfer.adaptation.support import blobs, line

HOW: dict[str, Any] = {
    "pseudo_label_weight": 10.0, "rounds": 5, "class_balance": 0.5,
    "max_source_drop_pp": 1.5, "seed": 0, "kind": "auto",
}  # fmt: skip


def adapt(domains: Domains, **how: Any) -> Adapted:
    groups = np.arange(len(domains.source_labels)).astype(str)
    return adapt_head(domains, source_groups=groups, validators=VALIDATORS, **(HOW | how))


def rows_of(found: Adapted) -> dict[str, dict[str, Any]]:
    return {row["kind"]: row for row in found.card["candidates"]}


def test_the_chosen_head_is_better_on_the_target_and_keeps_the_source() -> None:
    domains, truth = blobs(0.4)
    found, alone = adapt(domains), adapt(domains, kind="source_only")
    assert found.card["chosen"] in ADAPTIVE and alone.card["chosen"] == "source_only"
    target = domains.features[domains.domain == TARGET]
    accuracies = [(one.head.logits(target).argmax(1) == truth).mean() for one in (found, alone)]
    assert accuracies[0] > accuracies[1] + 0.1
    rows = rows_of(found)
    assert all(row["allowed"] for row in rows.values())
    assert rows[found.card["chosen"]]["source_accuracy"] > 0.97
    assert sum(rows["source_only"]["target_classes"]) == len(truth)


def test_the_choice_follows_a_score_without_labels() -> None:
    found = adapt(blobs(0.4)[0])
    rows = rows_of(found)
    best = max(rows.values(), key=lambda row: row["information_maximisation"])
    assert best["kind"] == found.card["chosen"]
    assert set(rows) == {"source_only", *ADAPTIVE}
    assert set(VALIDATORS) <= set(best)


def labelled(domains: Domains, truth: np.ndarray, per_class: int) -> Domains:
    """With the labels of the first target examples of every class."""
    known = np.zeros(len(truth), bool)
    for label in range(domains.classes):
        known[np.flatnonzero(truth == label)[:per_class]] = True
    return replace(domains, target_labels=np.where(known, truth, -1))


def test_enough_target_labels_choose_instead() -> None:
    domains, truth = blobs(0.4)
    found = adapt(labelled(domains, truth, ENOUGH_LABELS), max_source_drop_pp=100.0)
    rows = rows_of(found)
    assert found.card["chosen_by"] == "target_log_loss"
    assert found.card["chosen"] == min(rows, key=lambda kind: rows[kind]["target_log_loss"])
    few = adapt(labelled(domains, truth, ENOUGH_LABELS - 1)).card
    assert few["chosen_by"] == "information_maximisation"
    assert all("target_log_loss" not in row and "weight" not in row for row in few["candidates"])


def test_target_labels_weigh_the_heads_that_make_one() -> None:
    domains, truth = blobs(0.4)
    domains = labelled(domains, truth, ENOUGH_LABELS)
    found = adapt(domains, max_source_drop_pp=100.0)
    alone = {kind: adapt(domains, kind=kind).head for kind in ("source_only", *ADAPTIVE)}
    weights = {kind: row["weight"] for kind, row in rows_of(found).items()}
    assert sum(weights.values()) == pytest.approx(1, abs=1e-3)
    losses = {kind: row["target_log_loss"] for kind, row in rows_of(found).items()}
    assert sorted(weights, key=weights.__getitem__) == sorted(losses, key=lambda k: -losses[k])
    mean = sum(weights[kind] * head.weight for kind, head in alone.items())
    np.testing.assert_allclose(found.head.weight, mean, atol=2e-3 * np.abs(mean).max())
    logits, labels = found.held_out
    assert len(logits) == len(labels) == ENOUGH_LABELS * domains.classes


def test_a_candidate_that_forgets_has_no_part_in_the_average() -> None:
    """Though by held-out target labels it would have nearly all of it."""
    source = line(1.0)
    truth = np.arange(len(source.target_labels)) % source.classes
    known = replace(labelled(source, truth, ENOUGH_LABELS), target_weight=0.1)
    rows = rows_of(adapt(known))
    assert rows["source_only"]["weight"] == 1
    for kind in ADAPTIVE:
        assert not rows[kind]["allowed"] and "weight" not in rows[kind]
        assert rows[kind]["target_log_loss"] < 0.1 * rows["source_only"]["target_log_loss"]


def test_a_label_that_is_asked_for_was_not_seen() -> None:
    """Labels that say nothing are predicted no better than by chance, whatever was fitted."""
    domains, truth = blobs(0.4)
    shuffled = labelled(domains, np.random.default_rng(0).permutation(truth), 30)
    for row in rows_of(adapt(shuffled, max_source_drop_pp=100.0)).values():
        assert row["target_log_loss"] > 0.95 * np.log(3)


def test_a_candidate_that_forgets_the_source_is_held_back() -> None:
    found = adapt(line(1.0))
    rows = rows_of(found)
    assert found.card["chosen"] == "source_only"
    assert not any(rows[kind]["allowed"] for kind in ADAPTIVE)
    assert all(rows[kind]["source_accuracy"] < 0.9 for kind in ADAPTIVE)
    # only the forgetting held them back: by their score they would have been chosen
    assert adapt(line(1.0), max_source_drop_pp=100.0).card["chosen"] in ADAPTIVE


def test_one_asked_for_by_name_is_done_and_its_forgetting_is_said() -> None:
    for kind in ADAPTIVE:
        found = adapt(line(1.0), kind=kind)
        assert found.card["chosen"] == kind
        assert list(rows_of(found)) == ["source_only", kind]
        assert not rows_of(found)[kind]["allowed"]


def test_answers_of_no_weight_leave_the_head_that_the_source_taught() -> None:
    domains, _ = blobs(0.4)
    alone = adapt(domains, kind="source_only")
    for kind in ADAPTIVE:
        same = adapt(domains, kind=kind, pseudo_label_weight=0.0)
        np.testing.assert_array_equal(same.head.weight, alone.head.weight)
        np.testing.assert_array_equal(same.head.bias, alone.head.bias)


def test_the_same_seed_gives_the_same_head() -> None:
    first, second = (adapt(blobs(0.4)[0], seed=3) for _ in range(2))
    np.testing.assert_array_equal(first.head.weight, second.head.weight)
    assert first.card == second.card
    np.testing.assert_array_equal(first.held_out[0], second.held_out[0])


def test_logits_for_the_temperature_come_from_heads_that_had_not_seen_them() -> None:
    """With labels that say nothing, held-out accuracy is chance; a seen one would be above."""
    domains, _ = blobs(0.0, noise=0.3)
    rng = np.random.default_rng(0)
    noise = replace(
        domains,
        source_labels=rng.permutation(domains.source_labels),
        features=rng.normal(0, 0.1, (len(domains.features), 200)).astype(np.float32),
    )
    accuracy = rows_of(adapt(noise, kind="source_only"))["source_only"]["source_accuracy"]
    assert accuracy == pytest.approx(1 / 3, abs=0.15)
    logits, labels = adapt(domains).held_out
    assert len(logits) == len(labels) == len(domains.target_labels)


def test_other_backgrounds_are_shown_to_the_adaptive_candidates_only() -> None:
    domains, _ = blobs(0.4)
    source = domains.domain == SOURCE
    composed = domains.features[source] + domains.features[~source].mean(0) * 0.2
    with_composed = replace(
        domains,
        features=np.concatenate([domains.features, composed]).astype(np.float32),
        domain=np.concatenate([domains.domain, np.full(source.sum(), COMPOSED)]),
        example=np.concatenate([domains.example, domains.example[source]]),
    )
    found = adapt(with_composed)
    assert {row["kind"]: row["background"] for row in found.card["candidates"]} == {
        "source_only": False, "standardise": True, "self_training": True,
    }  # fmt: skip
    alone, plain = (adapt(one, kind="source_only") for one in (with_composed, domains))
    np.testing.assert_array_equal(alone.head.weight, plain.head.weight)
    assert rows_of(found)["source_only"] == rows_of(adapt(domains))["source_only"]
