"""Follow-up questions: "and how is it treated?" asks about the topic of the dialogue."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from regraft.tasks.assistant.wording import clean, content_words, stem, words

_ASPECTS = frozenset(
    stem(word)
    for word in "treat treated treatment treatments cure cured curable heal healed medicine "
    "medicines "
    "medicin medication medications drug drugs therapy therapies remedy symptom symptoms sign "
    "signs "
    "feel cause causes caused reason reasons prevent prevented prevention avoid protect diagnose "
    "diagnosed diagnosis test tests tested exam exams examination examinations check outlook "
    "prognosis "
    "future expect last long quickly away common rare frequent often affected inherit inherited "
    "inheritance hereditary genetic genes family families kids children child pass passed risk "
    "risks "
    "likely complication complications consequences dangerous danger serious bad worse fatal "
    "deadly "
    "die live living home daily life help helps advice tips contagious catch infectious spread "
    "doctor "
    "doctors hospital happen happens untreated else mean explain info information details dose "
    "dosage "
    "side effects interact interactions store vaccine start work works safe pregnant pregnancy "
    "adults "
    "recover recovery survive chances natural best first".split()
)
_PRONOUN = re.compile(
    r"\b(?:(?:this|that|the|these|those) (?:disease|condition|illness|disorder|infection|problem|"
    r"drug|medicine|medication|syndrome)s?|its|it|this|that|they|them|these|those)\b",
    re.IGNORECASE,
)
_EMPTY_IT = re.compile(
    r"\b(?:is|was|isn't) it (?:normal|ok|okay|safe|possible|true|good|bad|better|necessary|wise|"
    r"allowed|harmful|worth|time)\b(?: \w+)?|\bit (?:is|was|takes|rains|seems|hurts)\b|"
    r"\bthat\b(?= \w+s? "
    r"(?:is|are|cause|helps?))|\bthis (?:morning|evening|week|year|month|night)\b",
    re.IGNORECASE,
)
_LINKED = re.compile(r"^\W*(?:and|but|also|what about|how about|or|then)\b", re.IGNORECASE)


class Topics:
    """The topics of the passages, found by name in a text."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names: dict[tuple[str, ...], str] = {}
        for name in dict.fromkeys(names):
            key = _key(re.sub(r"\(.*?\)", " ", name))
            if key:
                self._names.setdefault(key, name)
        self._longest = max(map(len, self._names), default=0)

    def named(self, text: str, *, without: Collection[str] = ()) -> str:
        """The topic that the text names; the longest of several, empty of none. Those in `without`
        (casefolded) don't count."""
        found = _key(text)
        for length in range(min(self._longest, len(found)), 0, -1):
            for start in range(len(found) - length + 1):
                name = self._names.get(found[start : start + length])
                if name is not None and name.casefold() not in without:
                    return name
        return ""


@dataclass(frozen=True)
class Resolved:
    """A question that stands alone. `topic` is the one it is about where that is known; `open`
    when it asks about something that the dialogue has not named."""

    question: str
    topic: str = ""
    open: bool = False


def resolve(question: str, *, topics: Topics, last: Resolved | None) -> Resolved:
    """The question with what it leaves out, from the `last` one of the dialogue.

    >>> topics = Topics(["asthma", "measles"])
    >>> first = resolve("What is asthma?", topics=topics, last=None)
    >>> second = resolve("and how is it treated?", topics=topics, last=first)
    >>> second.question, resolve("what about measles?", topics=topics, last=second).question
    ('how is asthma treated', 'how is measles treated')
    """
    topic = topics.named(question)
    if topic:
        if last is not None and not _asks_something(question, topic):
            return Resolved(_with_topic(last, topic), topic)
        return Resolved(question, topic)
    if not is_follow_up(question):
        return Resolved(question)
    if last is None or not last.topic:
        return Resolved(question, open=True)
    return Resolved(_completed(question, last.topic), last.topic)


def is_follow_up(question: str) -> bool:
    """Does a question that names no topic lean on what was said before?"""
    rest = [word for word in content_words(question) if word not in {"disease", "condition"}]
    aspects_only = all(stem(word) in _ASPECTS for word in rest)
    pronoun = _PRONOUN.search(_EMPTY_IT.sub(" ", question)) is not None
    if not rest:
        return pronoun or _LINKED.match(question) is not None
    return aspects_only or (pronoun and any(stem(word) in _ASPECTS for word in rest))


def _asks_something(question: str, topic: str) -> bool:
    of_topic = set(_key(topic))
    return any(stem(w) not in of_topic for w in content_words(question)) or re.search(
        r"\b(?:what(?:'?s| is| are)|who|how|why|when|explain|define)\b(?! about)",
        question,
        re.IGNORECASE,
    ) is not None  # fmt: skip


def _with_topic(last: Resolved, topic: str) -> str:
    """The last question, asked about another topic."""
    if last.topic:
        named = re.compile(re.escape(last.topic), re.IGNORECASE)
        if named.search(last.question):
            return named.sub(topic, last.question)
    return _completed(last.question, topic)


def _completed(question: str, topic: str) -> str:
    """The question with the topic in the place of its pronoun, else at its end."""
    asked = _LINKED.sub("", clean(question)).strip(" ?.!,") or clean(question)
    visible = _EMPTY_IT.sub(lambda found: "\0" * len(found.group()), asked)
    found = _PRONOUN.search(visible)
    if found is None:
        return f"{asked} for {topic}"
    inserted = f"{topic}'s" if found.group().lower() == "its" else topic
    return asked[: found.start()] + inserted + asked[found.end() :]


def _key(text: str) -> tuple[str, ...]:
    return tuple(stem(word) for word in words(text.replace("-", " ")))
