"""Aligned encoders find the other side of a pair; unaligned ones do not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from regraft.errors import UserError
from regraft.training.alignment import Alignment, Index, align, recall_at
from regraft.transfer.fusion import Embedded, Floats


def _pairs(n: int, seed: int) -> Embedded:
    """Two views of one hidden vector each."""
    world = np.random.default_rng(0)
    image_view, text_view = world.normal(size=(6, 40)), world.normal(size=(6, 30))
    rng = np.random.default_rng(seed)
    hidden = rng.normal(size=(n, 6))
    sides = [
        hidden @ view + rng.normal(0, 0.5, (n, view.shape[1])) for view in (image_view, text_view)
    ]
    return Embedded(*(x / np.linalg.norm(x, axis=1, keepdims=True) for x in sides))


def _recall_at_5(images: Floats, texts: Floats) -> float:
    index = Index([str(n) for n in range(len(images))], images)
    found = index.search(texts, 5)
    return float(np.mean([str(n) in {name for name, _ in row} for n, row in enumerate(found)]))


def test_alignment_finds_new_pairs_both_ways() -> None:
    alignment = align(_pairs(150, 1), [str(n) for n in range(150)])
    new = _pairs(100, 2)
    images, texts = alignment.images(new.image), alignment.texts(new.text)
    assert _recall_at_5(images, texts) > 0.8
    assert _recall_at_5(texts, images) > 0.8
    assert _recall_at_5(new.image[:, :30], new.text) < 0.25


def test_shuffled_pairs_teach_nothing() -> None:
    pairs = _pairs(150, 1)
    shuffled = Embedded(pairs.image, np.random.default_rng(3).permutation(pairs.text))
    alignment = align(shuffled, [str(n) for n in range(150)])
    new = _pairs(100, 2)
    assert _recall_at_5(alignment.images(new.image), alignment.texts(new.text)) < 0.3


def test_an_index_persists(tmp_path: Path) -> None:
    vectors = np.eye(3)
    Index(["a", "b", "c"], vectors).save(tmp_path / "index.npz")
    loaded = Index.load(tmp_path / "index.npz")
    assert loaded.search(vectors[1:2], 2) == Index(["a", "b", "c"], vectors).search(vectors[1:2], 2)
    assert loaded.search(vectors[1:2], 1) == [[("b", 1.0)]]


def test_too_few_images_are_refused() -> None:
    with pytest.raises(UserError, match="too few pairs"):
        align(_pairs(40, 1), ["one"] * 20 + ["two"] * 20)


def test_recall_counts_an_image_with_several_texts_once() -> None:
    eye = np.eye(4)
    alignment = Alignment(np.zeros(4), eye, np.zeros(4), eye)
    texts = eye[[0, 0, 1, 3]]  # the last one speaks of another image
    pairs = Embedded(eye[[0, 0, 1, 2]], texts)
    assert recall_at(alignment, pairs, ["a", "a", "b", "c"], k=1) == (0.75, pytest.approx(2 / 3))
    assert recall_at(alignment, pairs, ["a", "a", "b", "c"], k=4) == (1.0, 1.0)
