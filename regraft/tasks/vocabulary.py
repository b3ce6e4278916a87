"""Words of questions that no passage has, brought to the word that was probably meant.

A misspelt word is lost for BM25 and broken into meaningless pieces for an encoder. Where the
passages, or the encoder's own vocabulary, have the word, it stays as it is. Otherwise the nearest
word of the passages is taken, at a distance of one error, of two in a long word; of equally near
ones the most frequent (a noisy channel; Kernighan, Church and Gale, "A Spelling Correction Program
Based on a Noisy Channel Model", COLING 1990, with every error equally likely).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

_WORD = re.compile(r"[^\W\d_]+")
_SHORTEST, _LONG = 5, 9
"""Letters of a word that may hold one error, and two."""
_MOST_WORDS = 256
"""Words of a text that are looked at: an encoder reads about as many."""
_REMEMBERED = 4096


class Vocabulary:
    """The words of some passages. `known` says of further words that they are right."""

    def __init__(self, texts: Sequence[str], known: Callable[[str], bool] | None = None) -> None:
        self._count = Counter(word for text in texts for word in _WORD.findall(text.lower()))
        self._words = sorted(
            (word for word in self._count if len(word) >= _SHORTEST - 1),
            key=lambda word: (-self._count[word], word),
        )
        self._known = known
        self._nearest = lru_cache(_REMEMBERED)(self._search)

    def respelt(self, text: str) -> str:
        """The text with misspelt words replaced, in lower case; all others as they were.

        >>> Vocabulary(["Asthma is treated with an inhaler."]).respelt("Inhalr for asthma?")
        'inhaler for asthma?'
        """
        return _WORD.sub(lambda found: self._one(found.group()), text, count=_MOST_WORDS)

    def _one(self, word: str) -> str:
        plain = word.lower()
        if len(plain) < _SHORTEST or plain in self._count or (self._known and self._known(plain)):
            return word
        return self._nearest(plain) or word

    def _search(self, word: str) -> str:
        """The nearest word; empty if none is near enough."""
        from rapidfuzz import process
        from rapidfuzz.distance import OSA

        most = 1 if len(word) < _LONG else 2
        near: Any = process.extractOne(word, self._words, scorer=OSA.distance, score_cutoff=most)
        return str(near[0]) if near else ""
