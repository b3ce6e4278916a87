"""Which language a short text is in, by its function words: enough to keep foreign rows out.

A question of a dozen words has four or five of these; names of diseases have none, so a text with
too few is left undecided instead of being guessed at.
"""

from __future__ import annotations

import re

_WORDS = {
    "en": """a about after am an and any are as at be because been before but by can could did do
    does for from get has have how i if in is it me my not of on or should so that the their there
    they this to was what when where which who why will with you your""",
    "de": """aber als am an auch auf aus bei bin bis da das dass dem den der des die doch ein eine
    einem einen einer es für gegen habe haben hat ich ihr im in ist kann man mein meine mit nach
    nicht oder sich sie sind über und von vor war was wenn wer wie wird wir zu zum zur""",
    "fr": """à au aux avec ce ces comment dans de des du elle en est et être il je la le les leur ma
    mais mes mon ne nous ou où par pas pour pourquoi quand que quel quelle quelles quels qui sa sans
    se ses son sont sur un une vous""",
    "es": """a al como con cómo cuál cuáles de del desde el en es esta este hay la las lo los me mi
    muy más no o para pero por porque puede que qué se ser si sin son su sus también tengo un una y
    ya yo""",
    "it": """a al alla anche che chi come con cosa da dei del della delle di e è gli ha ho i il in
    io la le lo ma mi mio nel nella non o per perché più quali quando se si sono su sul un una""",
    "nl": """aan bij dat de deze die dit een en er geen heb het hoe ik kan met mijn moet naar niet
    om ook te uit van voor waar waarom wanneer welke wie word wordt zijn""",
    "pt": """a ao as com como da das de do dos e é ela ele em essa esse está eu há isso mais mas me
    meu minha na não no nos o os ou para pela pelo por porque quais qual quando que se sem são um
    uma""",
}
FUNCTION_WORDS = {language: frozenset(text.split()) for language, text in _WORDS.items()}
_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)?")
_FEWEST_WORDS, _FEWEST_HITS = 4, 2


def words_of(text: str) -> list[str]:
    """The words of a text in lower case, without figures and punctuation."""
    return _WORD.findall(text.lower())


def function_word_share(text: str, language: str) -> float:
    """Share of the words that are function words of a language (0 to 1); 0 of no words."""
    words = words_of(text)
    known = FUNCTION_WORDS[language]
    return round(sum(word in known for word in words) / len(words), 4) if words else 0.0


def language_of(text: str) -> str:
    """The code of the language, "other" for another script, "" where too little speaks for any.

    >>> language_of("What are the symptoms of asthma?"), language_of("Wie wird man den Husten los?")
    ('en', 'de')
    >>> language_of("Rhizomelic dysplasia")
    ''
    """
    words = words_of(text)
    if len(words) < _FEWEST_WORDS:
        return "other" if words and _other_script(words) else ""
    if _other_script(words):
        return "other"
    hits = {name: sum(word in known for word in words) for name, known in FUNCTION_WORDS.items()}
    best, *rest = sorted(hits, key=lambda name: -hits[name])
    sure = hits[best] >= _FEWEST_HITS and hits[best] > hits[rest[0]]
    return best if sure else ""


def _other_script(words: list[str]) -> bool:
    """Most letters are beyond the Latin alphabets (which end at U+024F)."""
    letters = "".join(words)
    return sum(letter > "\u024f" for letter in letters) > len(letters) / 2
