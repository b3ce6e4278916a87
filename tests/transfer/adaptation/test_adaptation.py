"""Each adaptation answers a shifted target better than the source's labels alone do."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import numpy as np
import pytest

from regraft.recipe.adaptation import AdaptationOptions
from regraft.transfer.adaptation import KINDS, answers
from regraft.transfer.adaptation.consolidate import consolidated
from regraft.transfer.adaptation.domains import COMPOSED, SOURCE, TARGET, Domains
from regraft.transfer.adaptation.self_training import balanced, surest
from regraft.transfer.adaptation.standardise import standardised
from tests.transfer.adaptation.support import CLASSES, DIM, blobs

SMALL = Domains(
    features=np.array([[1, 0], [0, 1], [0.9, 0], [0.8, 0], [0, 0.7], [0, 0.6], [0.5, 0.5]]),
    domain=np.array([SOURCE, SOURCE, COMPOSED, TARGET, TARGET, TARGET, SOURCE]),
    example=np.array([0, 1, 0, 0, 1, 1, 1]),
    source_labels=np.array([0, 1]),
    target_labels=np.array([0, -1]),
    classes=2,
    target_weight=5.0,
)


def test_the_recipe_and_the_room_know_the_same_kinds() -> None:
    named = get_args(AdaptationOptions.model_fields["kind"].annotation)
    assert set(named) == {"auto", *KINDS}
    with pytest.raises(KeyError, match="self_training"):
        answers("prayer", SMALL)


def test_rows_know_their_label_weight_and_first_view() -> None:
    assert SMALL.labels.tolist() == [0, 1, 0, 0, -1, -1, 1]
    assert SMALL.known.tolist() == [0, 1, 2, 3, 6]
    np.testing.assert_allclose(SMALL.weights, [0.25, 0.25, 0.25, 5, 0, 0, 0.25])
    assert SMALL.first_view.tolist() == [True, True, False, True, True, False, False]
    assert SMALL.without_composed().domain.tolist() == [0, 0, 2, 2, 2, 0]


def test_the_answer_for_an_example_is_the_mean_over_its_views() -> None:
    scores = np.arange(14.0).reshape(7, 2)
    assert SMALL.target_scores(scores).tolist() == [[6, 7], [9, 10]]


def test_the_head_scores_as_the_regression_does() -> None:
    domains, _ = blobs(0.2)
    rows = domains.known
    weights = np.random.default_rng(0).uniform(0.1, 2, len(rows))
    fitted = rows, domains.one_hot(rows), weights
    scores = domains.scores(*fitted, penalty=0.03)
    head = domains.head(*fitted, penalty=0.03)
    assert head.weight.shape == (CLASSES, DIM) and head.bias.shape == (CLASSES,)
    np.testing.assert_allclose(head.logits(domains.features), scores, atol=1e-3)
    right = scores[rows].argmax(1) == domains.labels[rows]
    assert right.mean() > 0.98


def test_a_heavier_example_is_believed_more() -> None:
    """The same place with two labels: the weight decides."""
    domains = replace(SMALL, features=np.ones((7, 2)))
    targets = domains.one_hot(domains.known)
    for heavy in (0, 1):
        weights = np.where(targets[:, heavy] == 1, 10.0, 0.1)
        scores = domains.scores(domains.known, targets, weights, penalty=0.03)
        assert (scores.argmax(1) == heavy).all()


def test_balancing_moves_the_frequencies_and_keeps_the_order() -> None:
    own = np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.6, 0.4]])
    np.testing.assert_allclose(balanced(own, 0.0), own, atol=1e-6)
    even = balanced(own, 1.0)
    np.testing.assert_allclose(even.mean(0), 0.5, atol=1e-3)
    assert (np.diff(even[:, 0]) < 0).all()
    assert even.argmax(1).tolist() == [0, 0, 1, 1]
    half = balanced(own, 0.5)
    np.testing.assert_allclose(half.mean(0), [0.625, 0.375], atol=1e-3)


def test_the_surest_are_taken_per_class() -> None:
    """By one threshold for all, the third class would have none."""
    own = np.array([
        [0.9, 0.05, 0.05], [0.8, 0.1, 0.1], [0.7, 0.2, 0.1], [0.6, 0.2, 0.2],
        [0.3, 0.3, 0.4], [0.25, 0.3, 0.45],
    ])  # fmt: skip
    assert surest(own, share=0.5).tolist() == [0, 1, 5]
    assert surest(own, share=0.01).tolist() == [0, 5]
    assert surest(own, share=1.0).tolist() == [0, 1, 2, 3, 4, 5]


def accuracy(kind: str, domains: Domains, truth: np.ndarray) -> float:
    found = answers(kind, domains)
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-6)
    return float((found.argmax(1) == truth).mean())


def test_standardising_takes_a_common_offset_away() -> None:
    domains, truth = blobs(0.6)
    assert accuracy("source_only", domains, truth) < 0.7
    assert accuracy("standardise", domains, truth) > 0.95
    same = standardised(domains).features
    for domain in (SOURCE, TARGET):
        np.testing.assert_allclose(same[domains.domain == domain].mean(0), 0, atol=1e-5)


def test_self_training_beats_the_source_alone_where_classes_blur() -> None:
    for seed in range(5):
        domains, truth = blobs(0.35, noise=0.2, seed=seed)
        alone = accuracy("source_only", domains, truth)
        assert accuracy("self_training", domains, truth) > alone + 0.1


def test_no_adaptation_harms_a_target_that_does_not_differ() -> None:
    domains, truth = blobs(0.0)
    assert all(accuracy(kind, domains, truth) > 0.97 for kind in KINDS)


def test_known_target_labels_stay_what_they_are() -> None:
    """And one that contradicts the source is believed, because it weighs more."""
    domains, truth = blobs(0.6)
    known = np.full(len(truth), -1)
    known[:30] = truth[:30]
    alone = accuracy("source_only", domains, truth)
    labelled = replace(domains, target_labels=known)
    for kind in KINDS:
        found = answers(kind, labelled)
        assert (found[:30].argmax(1) == truth[:30]).mean() > 0.95
    assert accuracy("source_only", labelled, truth) > alone + 0.2


def test_one_head_serves_both_domains() -> None:
    domains, truth = blobs(0.4)
    source, target = domains.domain == SOURCE, domains.domain == TARGET
    alone = consolidated(domains, None, pseudo_label_weight=10.0)
    both = consolidated(domains, answers("self_training", domains), pseudo_label_weight=10.0)

    def right(head: object, rows: np.ndarray) -> float:
        return float((head.logits(domains.features[rows]).argmax(1) == truth).mean())  # type: ignore[attr-defined]

    assert right(both, target) > right(alone, target) + 0.1
    assert right(both, source) > right(alone, source) - 0.015


def test_answers_of_no_weight_change_nothing() -> None:
    domains, _ = blobs(0.4)
    plain = consolidated(domains, None, pseudo_label_weight=0.0)
    same = consolidated(domains, answers("self_training", domains), pseudo_label_weight=0.0)
    np.testing.assert_array_equal(plain.weight, same.weight)
    np.testing.assert_array_equal(plain.bias, same.bias)


def test_a_row_that_is_left_out_is_not_learned_from() -> None:
    domains, _ = blobs(0.4)
    out = domains.source_labels == 2
    out = np.concatenate([out, np.zeros(len(domains.target_labels), bool)])
    head = consolidated(domains, None, pseudo_label_weight=0.0, left_out=out)
    assert 2 not in head.logits(domains.features[domains.domain == SOURCE]).argmax(1)
