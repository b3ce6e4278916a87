"""Pieces of texts, and batches of pieces of similar length: what lessons without labels cost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

_POOL = 16  # batches whose texts are sorted by length together, so that little is padding


def excerpts(texts: Sequence[str], *, words: int = 40, seed: int = 0) -> list[str]:
    """A run of at most `words` words of each different text, from anywhere in it.

    A piece is a lesson too (the embedding of a text is a mean over its tokens), and costs a
    fraction of a page.

    >>> excerpts(["one two", "one two", "three"])
    ['one two', 'three']
    """
    rng, found = np.random.default_rng(seed), []
    for text in dict.fromkeys(texts):
        parts = text.split()
        start = int(rng.integers(max(len(parts) - words, 0) + 1))
        found.append(" ".join(parts[start : start + words]) if len(parts) > words else text)
    return found


def length_batches(
    lengths: np.ndarray, size: int, rng: np.random.Generator
) -> Iterator[np.ndarray]:
    """Numbers of texts of these lengths (n,), every text once, in batches of at most `size` texts
    of similar length, in random order. The number of batches is always the same."""
    order = rng.permutation(len(lengths))
    pools = [order[i : i + _POOL * size] for i in range(0, len(order), _POOL * size)]
    placed = [pool[np.argsort(lengths[pool], kind="stable")] for pool in pools]
    batches = [pool[i : i + size] for pool in placed for i in range(0, len(pool), size)]
    for number in rng.permutation(len(batches)):
        yield batches[number]
