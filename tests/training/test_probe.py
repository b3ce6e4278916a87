"""The probe chooses on held-out folds, in a smaller but equal problem."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
import pytest

from regraft.backbones.heads import ridge_head
from regraft.recipe.backbone import FeatureOptions
from regraft.training import probe as probe_module
from regraft.training.probe import RIDGE_STRENGTHS, _in_span, fit_probe, score_backbone


def sample(
    per_class: int, *, signal: float = 3.0, seed: int = 0
) -> tuple[pd.DataFrame, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.repeat(["a", "b", "c"], per_class)
    centres = rng.normal(size=(3, 200)) * signal / np.sqrt(200)
    x = centres[np.repeat(np.arange(3), per_class)] + rng.normal(size=(len(labels), 200))
    rows = pd.DataFrame(
        {"label": labels, "split": "train", "group": np.arange(len(labels)).astype(str)}
    )
    return rows, x / np.linalg.norm(x, axis=1, keepdims=True)


def test_the_span_gives_the_same_head() -> None:
    rows, x = sample(8)
    labels = np.unique(rows["label"], return_inverse=True)[1]
    coordinates, _, basis = _in_span(x, None)
    assert coordinates.shape[1] <= len(x) < x.shape[1]
    direct, small = ridge_head(x, labels), ridge_head(coordinates, labels)
    new = np.random.default_rng(1).normal(size=(5, x.shape[1]))
    mapped = new @ (small.weight @ basis).T + small.bias
    np.testing.assert_allclose(mapped, direct.logits(new), atol=1e-8)


def test_it_learns_and_its_estimate_is_of_unseen_examples() -> None:
    rows, x = sample(20)
    probe = fit_probe(rows, x, seed=0)
    assert probe.classes == ["a", "b", "c"]
    assert probe.held_out_logits.shape == (60, 3)
    labels = np.unique(rows["label"], return_inverse=True)[1]
    training = (probe.head.logits(x).argmax(1) == labels).mean()
    assert probe.head.cv_accuracy is not None
    assert training > probe.head.cv_accuracy > 1 / 3


def test_labels_that_say_nothing_are_not_believed() -> None:
    rows, x = sample(20, signal=0.0)
    found = fit_probe(rows, x, seed=0).head.cv_accuracy
    assert found is not None and found < 0.55


def test_one_example_per_class_has_nothing_to_choose_with() -> None:
    rows, x = sample(1)
    probe = fit_probe(rows, x, seed=0)
    assert len(probe.held_out_labels) == 0
    assert probe.head.strength == RIDGE_STRENGTHS[-1]


def test_augmented_views_train_but_never_answer() -> None:
    """Views that equal their example leave the answers of held-out folds unseen by it."""
    rows, x = sample(10, signal=0.0)
    copies = np.repeat(x[:, None], 4, axis=1)
    probe = fit_probe(rows, x, seed=0, augmented=copies)
    assert probe.held_out_logits.shape == (30, 3)
    assert probe.head.cv_accuracy is not None and probe.head.cv_accuracy < 0.6, "a fold leaked"


def test_informative_features_rank_higher() -> None:
    rows, good = sample(10)
    _, noise = sample(10, signal=0.0)
    better, worse = (score_backbone(rows, x, seed=0) for x in (good, noise))
    assert better["logme"] > worse["logme"]
    assert better["probe_accuracy"] > worse["probe_accuracy"]


KINDS = ["nearest_class_mean", "ridge", "logistic", "cache_model"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("per_class", [1, 6])
def test_the_head_that_was_asked_for(kind: str, per_class: int) -> None:
    rows, x = sample(per_class)
    assert FeatureOptions(head=kind).head == kind
    probe = fit_probe(rows, x, seed=0, kind=kind)
    assert probe.kind == kind == probe.summary()["kind"]
    labels = np.unique(rows["label"], return_inverse=True)[1]
    assert (probe.head.logits(x).argmax(1) == labels).mean() > 0.6
    assert ("keys" in probe.head.arrays()) == (kind == "cache_model")


def test_the_cache_answers_for_unseen_examples_in_the_estimate() -> None:
    """Every example is its own nearest key: an estimate that saw it would be 1."""
    rows, x = sample(20, signal=0.0)
    probe = fit_probe(rows, x, seed=0, kind="cache_model")
    assert probe.head.cv_accuracy is not None and probe.head.cv_accuracy < 0.6


def test_auto_takes_another_head_only_where_it_is_shown_to_be_better(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows, x = sample(20, signal=6.0)
    assert fit_probe(rows, x, seed=0).kind in {"ridge", "logistic"}
    # the usual heads spoilt: they learn from labels that say nothing
    for kind in ("ridge", "logistic"):
        (fit, *_) = probe_module._LINEAR[kind]
        spoilt = partial(lambda x, y, fit: fit(x, np.arange(len(y)) % 3), fit=fit)
        monkeypatch.setitem(probe_module._LINEAR, kind, [spoilt])
    assert fit_probe(rows, x, seed=0).kind == "nearest_class_mean"


def test_shown_to_be_better_means_beyond_chance() -> None:
    champion = np.repeat([True, False], 20)
    lucky, better = champion.copy(), champion.copy()
    lucky[20:22], better[20:30] = True, True
    assert not probe_module._is_shown(lucky, champion)
    assert probe_module._is_shown(better, champion)
    assert not probe_module._is_shown(champion, champion)
