"""Each fusion does what its formula says, and only where there is something to fuse."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from regraft.recipe.fusion import FUSIONS
from regraft.shift.cross_validation import assign_folds
from regraft.transfer.fusion import KINDS, Embedded, Opinions, fit_fusion
from regraft.transfer.fusion.expert import fit_expert
from regraft.transfer.fusion.gated import Gated
from regraft.transfer.fusion.pooled import accuracy, answerable
from regraft.transfer.fusion.two_stages import TwoStages

OPTIONS: dict[str, dict[str, Any]] = {options.kind: options.model_dump() for options in FUSIONS}
N = 240


def _unit(x: np.ndarray) -> np.ndarray:
    return np.asarray(x / np.linalg.norm(x, axis=1, keepdims=True))


def _signs(seed: int) -> tuple[np.ndarray, np.ndarray, Embedded]:
    """Pairs whose image and text each show a sign, in noise."""
    rng = np.random.default_rng(seed)
    a, b = rng.integers(0, 2, (2, N))
    image, text = rng.normal(0, 0.3, (N, 12)), rng.normal(0, 0.3, (N, 20))
    image[:, 0] += 2 * a - 1
    text[:, 0] += 2 * b - 1
    text[:, 1] += 1.0  # what all texts share
    return a, b, _placed(_unit(image), _unit(text))


def _placed(image: np.ndarray, text: np.ndarray) -> Embedded:
    """Pairs whose places say what the whole says."""
    return Embedded(image, text, np.stack([image] * 3, 1), np.stack([text] * 2, 1))


def _fitted(kind: str, pairs: Embedded, labels: np.ndarray) -> tuple[Any, np.ndarray, Opinions]:
    folds = assign_folds(np.zeros(N), None, seed=0)
    opinions = Opinions(*(fit_expert(x, labels, folds).held_out for x in (pairs.image, pairs.text)))
    fusion, held_out = fit_fusion(OPTIONS[kind], pairs, opinions, labels, folds)
    return fusion, held_out, opinions


def test_every_kind_has_options_and_an_unknown_one_is_refused() -> None:
    assert set(OPTIONS) == set(KINDS)
    _, _, pairs = _signs(0)
    with pytest.raises(KeyError, match="no fusion of kind"):
        fit_fusion({"kind": "magic"}, pairs, Opinions(pairs.image, pairs.text), *[np.zeros(N)] * 2)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", KINDS)
def test_two_halves_of_the_answer_are_put_together(kind: str) -> None:
    a, b, pairs = _signs(1)
    labels = np.where(np.arange(N) % 2 == 0, a, 2 + b).astype(np.int64)
    marked = pairs.text.copy()
    marked[:, 2] += np.where(np.arange(N) % 2 == 0, 2.0, -2.0)  # the text says who is asked
    _, held_out, opinions = _fitted(kind, _placed(pairs.image, _unit(marked)), labels)
    single = max(accuracy(o, labels) for o in (opinions.image, opinions.text))
    assert np.isfinite(held_out).all()
    assert accuracy(held_out, labels) >= single - 0.02
    if kind in {"concatenated", "learned", "bilinear"}:
        assert accuracy(held_out, labels) > single + 0.1


def test_products_alone_see_what_the_text_makes_of_the_image() -> None:
    a, b, pairs = _signs(2)
    labels = (a ^ b).astype(np.int64)
    found = {kind: accuracy(_fitted(kind, pairs, labels)[1], labels) for kind in KINDS}
    assert found.pop("bilinear") > 0.9
    assert found.pop("cross_attention") > 0.8
    assert max(found.values()) < 0.65


def _pointed_at(seed: int) -> tuple[np.ndarray, Embedded]:
    """Four regions with a sign each, and a text whose one word says which of them is asked for:
    the embedding of the image is the mean over regions and does not know."""
    rng = np.random.default_rng(seed)
    signs, asked = rng.integers(0, 2, (N, 4)), rng.integers(0, 4, N)
    regions = rng.normal(0, 0.1, (N, 4, 12))
    regions[:, :, 0] += 2 * signs - 1
    regions[:, range(4), range(1, 5)] += 2.0  # where it is
    words = rng.normal(0, 0.1, (N, 2, 8))
    words[np.arange(N), 0, asked] += 2.0
    words[N // 2 :, 1] = 0.0  # not there
    pairs = Embedded(
        _unit(regions.mean(1)), _unit(words.sum(1)),
        regions.astype(np.float32), words.astype(np.float32),
    )  # fmt: skip
    return signs[np.arange(N), asked].astype(np.int64), pairs


def test_cross_attention_looks_where_a_word_points() -> None:
    labels, pairs = _pointed_at(4)
    found = {kind: accuracy(_fitted(kind, pairs, labels)[1], labels) for kind in KINDS}
    bridge = found.pop("cross_attention")
    assert bridge > max(found.values()) + 0.05, (bridge, found)


def test_an_empty_place_is_not_looked_at_and_its_absence_is_refused() -> None:
    labels, pairs = _pointed_at(5)
    fusion, _, opinions = _fitted("cross_attention", pairs, labels)
    assert pairs.words is not None and pairs.regions is not None
    longer = np.pad(pairs.words, ((0, 0), (0, 3), (0, 0)))
    padded = Embedded(pairs.image, pairs.text, pairs.regions, longer)
    np.testing.assert_allclose(
        fusion.log_probabilities(padded, opinions), fusion.log_probabilities(pairs, opinions),
        atol=1e-5,
    )  # fmt: skip
    with pytest.raises(ValueError, match="needs regions and words"):
        fusion.log_probabilities(Embedded(pairs.image, pairs.text), opinions)


@pytest.mark.parametrize("kind", ["weighted", "learned", "gated"])
def test_noise_gets_no_say(kind: str) -> None:
    a, _, pairs = _signs(3)
    noise = _unit(np.random.default_rng(9).normal(size=(N, 20)))
    labels = a.astype(np.int64)
    fusion, held_out, opinions = _fitted(kind, _placed(pairs.image, noise), labels)
    assert accuracy(held_out, labels) >= accuracy(opinions.image, labels) - 0.01
    turned = Opinions(opinions.image, opinions.text[::-1])
    changed = fusion.log_probabilities(pairs, opinions).argmax(1)
    assert (changed == fusion.log_probabilities(pairs, turned).argmax(1)).mean() > 0.95


def test_the_gate_follows_the_expert_that_is_sure() -> None:
    sure, unsure = np.log([[0.98, 0.02]]), np.log([[0.5, 0.5]])
    gate = Gated(np.array([0.0, 3.0, 0.0, -3.0, 0.0]))
    assert gate.gate(Opinions(sure, unsure))[0] > 0.8
    assert gate.gate(Opinions(unsure, sure))[0] < 0.2


def test_an_expert_has_not_seen_what_it_answers_held_out() -> None:
    rng = np.random.default_rng(0)
    features = _unit(rng.normal(size=(N, 400)))
    labels = rng.integers(0, 2, N).astype(np.int64)
    expert = fit_expert(features, labels, assign_folds(np.zeros(N), None, seed=0))
    assert accuracy(expert.log_probabilities(features), labels) > 0.8
    assert accuracy(expert.held_out, labels) < 0.65


def _asked(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Texts that say which kind of answer is asked for and hardly which of the rare ones."""
    rng = np.random.default_rng(seed)
    rare = rng.random(N) < 0.4
    labels = np.where(rare, 2 + rng.integers(0, 24, N), rng.integers(0, 2, N))
    labels[:26] = np.arange(26)
    features = rng.normal(0, 0.3, (N, 40))
    features[:, 0] += np.where(labels > 1, 1.0, -1.0)
    features[np.arange(N), 2 + labels] += 0.6
    return labels.astype(np.int64), _unit(features)


def test_common_and_rare_answers_are_told_apart_first_where_there_are_both() -> None:
    labels, features = _asked(5)
    folds = assign_folds(np.zeros(N), None, seed=0)
    expert = fit_expert(features, labels, folds)
    assert expert.stages is not None
    assert np.flatnonzero(expert.stages.common).tolist() == [0, 1]
    found = expert.log_probabilities(features)
    np.testing.assert_allclose(np.exp(found).sum(1), 1)
    rare = labels > 1
    assert (found.argmax(1)[rare] > 1).mean() > 0.9
    two = fit_expert(features, (labels > 1).astype(np.int64), folds)
    assert two.stages is None and "stage_common" not in two.values()


def test_two_stages_move_probability_between_kinds_and_not_within() -> None:
    scores = np.log([[0.6, 0.2, 0.15, 0.05]])
    found = np.exp(TwoStages(np.array([True, True, False, False]), 1.0).log_probabilities(scores))
    common = 0.6 * 0.2 / (0.6 * 0.2 + 0.15 * 0.05)  # softmax of the sums of logarithms
    np.testing.assert_allclose(found[0, :2], common * np.array([0.75, 0.25]))
    np.testing.assert_allclose(found[0, 2:], (1 - common) * np.array([0.75, 0.25]))


def test_a_class_of_one_fold_is_not_answerable() -> None:
    labels, folds = np.array([0, 0, 1, 1, 2]), np.array([0, 1, 0, 0, 1])
    assert answerable(labels, folds).tolist() == [True, True, False, False, False]
