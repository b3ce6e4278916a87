"""Typing errors made on purpose: for training views, thresholds and the measure of robustness."""

from __future__ import annotations

import numpy as np

_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_EVERY = 12  # letters


def typing_error(text: str, place: int, rng: np.random.Generator) -> str:
    """The text with its letter at `place` left out, doubled, swapped with the next or replaced."""
    letter, after = text[place], text[place + 1 : place + 2]
    other = _LETTERS[int(rng.integers(len(_LETTERS)))]
    changed = (after, letter + letter + after, after + letter, other + after)
    return text[:place] + changed[int(rng.integers(4))] + text[place + 2 :]


def typed_badly(text: str, seed: int) -> str:
    """The text with about one typing error in twelve letters; at least one."""
    rng = np.random.default_rng(seed)
    places = [place for place, letter in enumerate(text) if letter.isalpha()]
    if not places:
        return text
    chosen = rng.choice(places, size=max(1, len(places) // _EVERY), replace=False)
    for place in sorted(chosen.tolist(), reverse=True):
        text = typing_error(text, place, rng)
    return text
