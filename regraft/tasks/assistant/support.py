"""Does a sentence say only what the passages say?

A deliberately strict comparison of words, because a wrong number or a swapped drug is worse than a
sentence too few: every number and every word of substance must stand in a passage, most of them
together in two neighbouring sentences of it, which must deny as often as the sentence does. Free
paraphrase fails the check, and then the passages' own sentences are given instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from regraft.tasks.assistant.wording import FUNCTION_WORDS, sentences, stem, words

_TOGETHER = 0.6
_DENIAL = frozenset(
    "no not never none neither nor without cannot cant dont doesnt didnt isnt arent wasnt wont "
    "shouldnt couldnt wouldnt hardly rarely unlikely except avoid stop instead".split()
)
_DIRECTION = frozenset(
    "more less before after above below under over most few both all only always during until "
    "must should may might can once".split()
)
_GENERAL = frozenset(
    stem(word)
    for word in "help helps use used using include includes including common often usually called "
    "means according following important also several different kind kinds type types example "
    "people person patient patients doctor doctors question answer information passage source "
    "passages sources condition well good useful main known".split()
)
"""Words that a sentence may add: they bring no fact of their own."""


def supported(sentence: str, passages: Sequence[str]) -> bool:
    """Do the passages say what this sentence says? A sentence without a word of substance does not
    count as supported.

    >>> passage = "Adults take 20 mg once a day. It does not cure asthma."
    >>> supported("Adults take 20 mg a day.", [passage])
    True
    >>> [supported(s, [passage]) for s in ("Adults take 40 mg a day.", "It does cure asthma.")]
    [False, False]
    """
    own = words(sentence)
    facts = {stem(word) for word in own if _is_fact(word)}
    return bool(facts) and any(_says(passage, own, facts) for passage in passages)


def _is_fact(word: str) -> bool:
    return word not in FUNCTION_WORDS and stem(word) not in _GENERAL


def _says(passage: str, own: list[str], facts: set[str]) -> bool:
    if not facts <= {stem(word) for word in words(passage)}:
        return False
    parts = [words(part) for part in sentences(passage)]
    windows = [*parts, *([*a, *b] for a, b in pairwise(parts))]
    return any(_window_says(window, own, facts) for window in windows)


def _window_says(window: list[str], own: list[str], facts: set[str]) -> bool:
    here = {stem(word) for word in window}
    numbers = {fact for fact in facts if fact[0].isdigit()}
    if len(facts & here) < _TOGETHER * len(facts) or not numbers <= here:
        return False
    directions = _DIRECTION.intersection(own) - {"can", "may", "also"}
    if not directions <= set(window):
        return False
    near = _around(window, facts)
    return (_denials(own) > 0) == (_denials(near) > 0)


def _around(window: list[str], facts: set[str]) -> list[str]:
    """The stretch of the window that the facts span, with two words to each side."""
    places = [place for place, word in enumerate(window) if stem(word) in facts]
    return window[max(min(places) - 2, 0) : max(places) + 3]


def _denials(found: Sequence[str]) -> int:
    return sum(word in _DENIAL for word in found)
