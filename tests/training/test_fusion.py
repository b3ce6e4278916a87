"""Which of the answerers is chosen, and what answers where a modality is missing."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from regraft.errors import UserError
from regraft.recipe.fusion import FUSIONS
from regraft.training.fusion import PairModel, fit_pairs
from regraft.training.fusion_probe import fit_fusion_probe
from regraft.transfer.fusion import KINDS, Embedded

N = 240


def _pairs(seed: int) -> tuple[np.ndarray, np.ndarray, Embedded]:
    rng = np.random.default_rng(seed)
    a, b = rng.integers(0, 2, (2, N))
    image, text = rng.normal(0, 0.3, (2, N, 12))
    image[:, 0] += 2 * a - 1
    text[:, 0] += 2 * b - 1
    text[:, 1] += 1.0
    unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (image, text)]
    return a, b, Embedded(*unit, unit[0].reshape(N, 3, 4), unit[1].reshape(N, 2, 6))


def _fit(pairs: Embedded, labels: np.ndarray) -> PairModel:
    groups = [str(n // 2) for n in range(N)]
    names = [f"answer {label}" for label in labels]
    options = [one.model_dump() for one in FUSIONS]
    options[-1] |= {"epochs": 2}  # cross-attention, which learns by steps
    return fit_pairs(pairs, names, groups, fusions=options, seed=0)


def test_what_only_both_know_is_answered_by_the_bilinear_fusion() -> None:
    a, b, pairs = _pairs(0)
    model = _fit(pairs, a ^ b)
    assert model.chosen == "bilinear"
    assert set(model.judged) == {"image", "text", *KINDS}
    new_a, new_b, new = _pairs(1)
    answers = model.probabilities(new).argmax(1)
    assert (answers == (new_a ^ new_b)).mean() > 0.9


def test_one_modality_is_enough_where_the_other_says_nothing() -> None:
    a, _, pairs = _pairs(2)
    other = np.random.default_rng(5).permutation(N)
    noise = Embedded(pairs.image, pairs.text[other], pairs.regions, pairs.rows(other).words)
    assert _fit(noise, a).chosen == "image"
    swapped = Embedded(noise.text, noise.image, noise.words, noise.regions)
    assert _fit(swapped, a).chosen == "text"


def test_a_missing_modality_is_answered_by_the_model_of_the_other() -> None:
    a, b, pairs = _pairs(3)
    model = _fit(pairs, 2 * a + b)
    for name, missing in (("image", "text"), ("text", "image")):
        alone = model.probabilities(pairs, missing=missing)
        assert np.array_equal(alone, model.probabilities(pairs, by=name))
        assert np.allclose(alone.sum(1), 1)


def test_labels_that_one_image_has_alone_are_a_clear_error() -> None:
    _, _, pairs = _pairs(4)
    with pytest.raises(UserError, match="nothing tells which modality"):
        _fit(pairs, np.arange(N) // 2)


def _match(pairs: Embedded, domain: str, rows: int = N) -> np.ndarray:
    """The alignment of 60 labelled pairs and of others of a domain that have no label."""
    number = np.arange(rows)
    table = pd.DataFrame({
        "split": np.where(number < 60, "train", "unlabelled"), "group": number.astype(str),
        "label": np.where(number < 60, number % 2, 0).astype(str),
        "domain": np.where(number < 60, "lab", domain),
    })  # fmt: skip
    features = np.concatenate([pairs.image, pairs.text], 1)[:rows]
    probe, _ = fit_fusion_probe(
        table, features, parts=(12, 12), fusions=[{"kind": "concatenated"}], seed=0
    )
    return np.asarray(probe.head.arrays()["match_image_projection"])


def test_pairs_without_a_label_are_aligned_where_they_are_like_the_labelled_ones() -> None:
    _, _, pairs = _pairs(6)
    alone = _match(pairs, "lab", rows=60)
    np.testing.assert_allclose(_match(pairs, "field"), alone)
    assert not np.allclose(_match(pairs, "lab"), alone)
