"""The generated source task of the starter backbone."""

from __future__ import annotations

import numpy as np

from regraft.data.examples.textures import PATTERNS, texture_images


def test_reproducible_and_seeded() -> None:
    first = texture_images(classes=42, images=60, size=32, seed=0)
    again = texture_images(classes=42, images=60, size=32, seed=0)
    other = texture_images(classes=42, images=60, size=32, seed=1)
    assert np.array_equal(first[0], again[0])
    assert np.array_equal(first[1], again[1])
    assert not np.array_equal(first[0], other[0])


def test_shapes_and_even_labels() -> None:
    pixels, labels = texture_images(classes=42, images=84, size=32, seed=0)
    assert pixels.shape == (84, 32, 32, 3)
    assert pixels.dtype == np.uint8
    assert np.bincount(labels).tolist() == [2] * 42


def test_every_pattern_draws_something_within_bounds() -> None:
    for pattern in PATTERNS:
        mask = pattern(np.random.default_rng(0), 64)
        assert mask.shape == (64, 64), pattern.__name__
        assert -1e-9 <= mask.min() < mask.max() <= 1 + 1e-9, pattern.__name__
        assert mask.std() > 0.01, pattern.__name__
