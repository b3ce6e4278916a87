"""Text taken apart: cleaned, in sentences, in words."""

from __future__ import annotations

import re
import unicodedata

_SPACE = re.compile(r"\s+")
_WORD = re.compile(r"[a-z0-9]+(?:[.,][0-9]+)*(?:['-][a-z0-9]+)*")
_END = re.compile(r"(?<=[.!?])[\"')\]]*\s+(?=[\"'(\[]*[A-Z0-9])")
_ABBREVIATION = re.compile(r"(?:\b(?:e\.g|i\.e|etc|vs|Dr|Mr|Mrs|Ms|Prof|No|approx|[A-Z]))\.$")

FUNCTION_WORDS = frozenset(
    "a about above after again all also am an and any anyone anything are as at be because been "
    "before being below both but by can cannot cant could did didnt do does doesnt doing dont down "
    "during each either else even ever every few for from further get gets getting give given go "
    "goes going got had has have having he her here hers him his how i id if ill im in into is "
    "isnt "
    "it its ive just know let like made make makes many may me might mine more most much must my "
    "myself no nor not now of off often on once one only onto or other others our ours out over "
    "own "
    "people person please pls same shall she should so some somebody someone something still such "
    "take tell than thank thanks that thats the their theirs them then there these they thing "
    "things "
    "this those though through to too under until up us very want was wasnt way we well were what "
    "whats when where whether which while who whom whose why will with without wont would yes yet "
    "you your yours".split()
)
"""Words that carry no subject, without their apostrophes."""


def clean(text: str) -> str:
    """The text without control and invisible characters, white space as single spaces.

    >>> clean("What\\x00 is\\u200b\\n asthma?")
    'What is asthma?'
    """
    normal = unicodedata.normalize("NFKC", text)
    kept = [
        " " if character.isspace() else character
        for character in normal
        if character.isspace() or unicodedata.category(character)[0] != "C"
    ]
    return _SPACE.sub(" ", "".join(kept)).strip()


def sentences(text: str) -> list[str]:
    """The sentences of a text, which abbreviations and decimals don't end.

    >>> sentences("Take it, e.g. at 8. Dr. Lee said 2.5 mg. Ask her!")
    ['Take it, e.g. at 8.', 'Dr. Lee said 2.5 mg.', 'Ask her!']
    """
    found: list[str] = []
    for part in _END.split(clean(text)):
        if found and _ABBREVIATION.search(found[-1]):
            found[-1] += f" {part}"
        elif part:
            found.append(part)
    return found


def words(text: str) -> list[str]:
    """Lower-case words and numbers without accents; apostrophes are dropped.

    >>> words("Crohn's disease: 2.5 mg, déjà vu")
    ['crohns', 'disease', '2.5', 'mg', 'deja', 'vu']
    """
    plain = unicodedata.normalize("NFKD", text.replace("\u2019", "'")).lower()
    plain = "".join(c for c in plain if not unicodedata.combining(c))
    return [word.replace("'", "") for word in _WORD.findall(plain)]


def content_words(text: str) -> list[str]:
    """The words that carry the subject, in order."""
    return [word for word in words(text) if word not in FUNCTION_WORDS]


def stem(word: str) -> str:
    """A word without the endings of plural and tense: crude, for comparing words only.

    >>> [stem(w) for w in ("causes", "caused", "treatments", "allergies", "is")]
    ['caus', 'caus', 'treatment', 'allergy', 'is']
    """
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    for ending in ("ing", "es", "ed", "s", "e"):
        if word.endswith(ending) and len(word) - len(ending) >= 4:
            return word[: -len(ending)]
    return word
