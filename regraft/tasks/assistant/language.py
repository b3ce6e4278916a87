"""Is a text English? By its letters and its most frequent words, without a model."""

from __future__ import annotations

import unicodedata

from regraft.tasks.assistant.wording import FUNCTION_WORDS, words

_OTHERS = {
    "German": "der die das und ist nicht wie was ein eine fuer fur von den dem bei ich kann man "
    ""
    "wird sind welche gegen oder habe mein meine wer warum wann wo zu auf im",
    "French": "le la les des une est et pour dans avec sur quels quelles quel quelle comment "
    "pourquoi "
    "que qui je mon ma mes du de un sont peut cest jai vous nous aux",
    "Spanish": "el los las es y para con por que cuales cual como una un del de se mi tengo son "
    "puede "
    "hay porque donde cuando quien esta tiene",
    "Italian": "il lo gli della di che per con sono cosa quali qual perche una un e del dei mi "
    "ho "
    "si puo dove quando chi nel",
    "Portuguese": "o os as um uma do da dos das em para com por que quais qual como sao meu minha "
    "tenho pode nao quem onde quando",
    "Dutch": "de het een en van is niet voor met hoe wat zijn ik mijn kan wordt welke waarom wie "
    "wanneer "
    "bij deze dat",
}
_WORDS = {name: frozenset(text.split()) - FUNCTION_WORDS for name, text in _OTHERS.items()}
_LATIN_SHARE = 0.7


def is_english(text: str) -> bool:
    """False for another script, or when another language's frequent words outnumber English ones.

    A text with neither counts as English: names and single words belong to every language.
    """
    letters = [character for character in text if character.isalpha()]
    latin = sum("LATIN" in unicodedata.name(character, "") for character in letters)
    if letters and latin < _LATIN_SHARE * len(letters):
        return False
    found = words(text)
    english = sum(word in FUNCTION_WORDS for word in found)
    other = max(sum(word in own for word in found) for own in _WORDS.values())
    return other < 2 or other <= english
