"""Pieces of texts, and batches of them."""

from __future__ import annotations

import numpy as np

from regraft.training.excerpts import excerpts, length_batches


def test_an_excerpt_is_a_run_of_words_from_anywhere() -> None:
    long = " ".join(map(str, range(100)))
    found = [excerpts([long, "a short one"], words=10, seed=seed) for seed in range(20)]
    runs = [list(map(int, one[0].split())) for one in found]
    assert all(run == list(range(run[0], run[0] + 10)) for run in runs)
    assert len({run[0] for run in runs}) > 10
    assert {one[1] for one in found} == {"a short one"}


def test_every_text_is_in_one_batch_and_little_is_padding() -> None:
    lengths = np.random.default_rng(0).integers(1, 100, size=203)
    batches = list(length_batches(lengths, 8, np.random.default_rng(1)))
    assert sorted(np.concatenate(batches)) == list(range(203))
    assert len(batches) == -(-203 // 8)
    padded = sum(len(batch) * lengths[batch].max() for batch in batches)
    assert padded < 1.25 * lengths.sum()
