"""A reply made of the passages' own sentences, each with the number of its source."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from regraft.tasks.assistant.instructions import addresses_assistant
from regraft.tasks.assistant.knowledge import Hit, Passage
from regraft.tasks.assistant.wording import sentences

_SENTENCES = 4
_SHORT = 3  # a passage of so many sentences is quoted whole
_AS_GOOD = 0.95  # share of the best score that a second passage of the topic needs


@dataclass(frozen=True)
class Quote:
    """A sentence of a passage, which has its place among the `sources` of the reply."""

    sentence: str
    source: int


@dataclass(frozen=True)
class Quoted:
    """What a reply quotes, and the passages that it is from, best first."""

    quotes: tuple[Quote, ...]
    sources: tuple[Passage, ...]

    @property
    def text(self) -> str:
        """The sentences with [1], [2] after each passage's last one."""
        return " ".join(self.pieces())

    def pieces(self) -> list[str]:
        """The sentences, each with the number of its source where the next is from another."""
        following = [quote.source for quote in self.quotes[1:]] + [-1]
        return [
            quote.sentence if after == quote.source else f"{quote.sentence} [{quote.source + 1}]"
            for quote, after in zip(self.quotes, following, strict=True)
        ]


def quotable(passage: Passage) -> list[str]:
    """The sentences of a passage that say something of the domain: none that addresses the
    assistant is ever quoted, or shown to a language model."""
    return [part for part in sentences(passage.text) if not addresses_assistant(part)]


def compose(
    question: str,
    hits: Sequence[Hit],
    passages: Sequence[Passage],
    embed: Callable[[list[str]], np.ndarray],
) -> Quoted:
    """Quote the best passage, and one more of its topic that is nearly as good.

    Of a long passage the sentences nearest to the question by `embed` are taken, in their order.
    Nothing is quoted where no sentence is left.
    """
    best = passages[hits[0].passage]
    others = [
        passages[hit.passage]
        for hit in hits[1:]
        if passages[hit.passage].topic == best.topic and hit.score >= _AS_GOOD * hits[0].score
    ]
    chosen = [best, *others[:1]]
    kept = [(passage, found) for passage in chosen if (found := quotable(passage))]
    quotes: list[Quote] = []
    room = _SENTENCES
    for number, (_, found) in enumerate(kept):
        picked = (
            found if len(found) <= min(_SHORT, room) else _nearest(question, found, embed, room)
        )
        quotes += [Quote(sentence, number) for sentence in picked[:room]]
        room = _SENTENCES - len(quotes)
    used = {quote.source for quote in quotes}
    return Quoted(
        tuple(quotes), tuple(passage for number, (passage, _) in enumerate(kept) if number in used)
    )


def _nearest(
    question: str, found: list[str], embed: Callable[[list[str]], np.ndarray], room: int
) -> list[str]:
    if room < 1:
        return []
    vectors = embed([question, *found])
    order = np.argsort(-(vectors[1:] @ vectors[0]), kind="stable")[: min(_SHORT, room)]
    return [found[place] for place in sorted(order.tolist())]
