"""Misspelt words of an alarm brought back to their spelling."""

from __future__ import annotations

from functools import lru_cache

_KNOWN = (
    "suicide suicidal myself himself herself anymore breathe breathing bleeding unconscious "
    "unresponsive overdose overdosed swallowed poison bleach battery batteries antifreeze "
    "detergent "
    "seizure convulsion convulsing choking collapsed drooping slurred slurring ambulance emergency "
    "swelling swollen tongue throat allergic peanuts paracetamol tylenol tablets pills bottle "
    "handful heart attack stroke chest headache fainted suddenly killing hurting cutting living"
).split()
_REAL = frozenset(  # words of their own, one letter from a word above
    "breath breathes choice joking cooking smoking chose chess cheat cheap sweeping swellings "
    "strokes "
    "strode throats through pill piles bills spills fills skills hills mills kills tongues "
    "hearts heard "
    "heat hear attach attacks patches tablet cables table fables giving liking loving leaving "
    "lifting "
    "filling killings hunting putting curing bleaching breeding blending bleedings breathed "
    "breathings "
    "headaches bottles battle bottled poisons poisoned swollens thigh threat treat dying drying "
    "tables chests seizures convulsions sudden overdoses diving driving hiving cuttings calling "
    "pulling "
    "rolling willing telling selling smelling spelling swallow stoke broke spoke milling stroked "
    "itself oneself yourself hurtling halting hosting stokes suicides beaching leach bleached "
    "reach "
    "beach breach breathy poisson prison killing swearing stewing".split()
)
_SPOKEN = {
    "u": "you", "ur": "your", "r": "are", "cnt": "cant", "wan": "want", "brethe": "breathe",
    "breeth": "breathe", "breth": "breathe", "brathe": "breathe", "breeding": "bleeding",
    "sucide": "suicide", "suiside": "suicide", "suicid": "suicide", "sewerside": "suicide",
    "sucidal": "suicidal", "suisidal": "suicidal", "meself": "myself", "mysef": "myself",
    "dye": "die", "kil": "kill", "kll": "kill", "caint": "cant", "cudnt": "couldnt",
    "chestpain": "chest pain", "hart": "heart", "hav": "have", "iam": "im",
    "ambulence": "ambulance",
    "unconcious": "unconscious", "unconsious": "unconscious", "siezure": "seizure",
    "seezure": "seizure", "swolen": "swollen", "swolled": "swallowed", "tonge": "tongue",
    "tung": "tongue", "stopt": "stopped", "bleech": "bleach", "anymor": "anymore",
    "cuting": "cutting", "chokeing": "choking", "colapsed": "collapsed", "slured": "slurred",
    "droping": "drooping", "to0": "too", "pil": "pill", "pils": "pills",
}  # fmt: skip
_NOT_DYE = {"hair", "clothes", "shirt", "fabric", "eggs", "contrast", "wool", "beard", "eyebrows"}


def corrected(found: list[str]) -> list[str]:
    """The words, those a letter or two away from a word of an alarm replaced by it.

    >>> corrected(["my", "sun", "swollowed", "bleech"])
    ['my', 'sun', 'swallowed', 'bleach']
    """
    dyes = _NOT_DYE.intersection(found)
    return [word if word == "dye" and dyes else _one(word) for word in found]


@lru_cache(maxsize=4096)
def _one(word: str) -> str:
    if word in _SPOKEN:
        return _SPOKEN[word]
    if len(word) < 5 or len(word) > 16 or word in _REAL or word in _KNOWN:
        return word
    for known in _KNOWN:
        allowed = 2 if len(known) >= 9 else 1
        near = abs(len(known) - len(word)) <= allowed and known[0] == word[0]
        if len(known) >= 6 and near and _distance(known, word, allowed) <= allowed:
            return known
    return word


def _distance(a: str, b: str, most: int) -> int:
    """Insertions, deletions, replacements and swaps of neighbours between two words (optimal string
    alignment), or more than `most` as soon as that is certain."""
    before: list[int] = []
    row = list(range(len(b) + 1))
    for i, letter in enumerate(a, start=1):
        last, row, before2 = row, [i, *[0] * len(b)], before
        for j, other in enumerate(b, start=1):
            row[j] = min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (letter != other))
            if before2 and i > 1 and j > 1 and letter == b[j - 2] and a[i - 2] == other:
                row[j] = min(row[j], before2[j - 2] + 1)
        before = last
        if min(row) > most:
            return most + 1
    return row[-1]
