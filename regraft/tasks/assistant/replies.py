"""What the assistant says, and how it was decided."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from regraft.tasks.assistant.confidence import ABSTAIN, ASK_BACK
from regraft.tasks.assistant.knowledge import Passage

SAFETY = "safety"
EXTRACTIVE, GENERATIVE, FALLBACK = "extractive", "generative", "extractive_fallback"
NOTICE = "General information, not medical advice."
_QUOTED = "These are sentences of the passages named here, put together by a program."
_WRITTEN = "Written by a language model; each sentence was checked against the passages named here."
_FELL_BACK = (
    "The language model's wording was not supported by the passages, so these are the passages' "
    "own sentences."
)
SAID = {EXTRACTIVE: _QUOTED, GENERATIVE: _WRITTEN, FALLBACK: _FELL_BACK}


@dataclass(frozen=True)
class Citation:
    """A passage that a reply rests on, by the number it has in the text."""

    number: int
    topic: str
    source: str
    passage: str
    """Its id."""


@dataclass(frozen=True)
class Reply:
    """One reply.

    Attributes
    ----------
    decision : answer, ask_back, abstain or safety.
    confidence : calibrated probability that the best passage is the right one; 0 where there was
        no search.
    question : the question as it was resolved against the dialogue.
    sentences : the statements of an answer, without numbers and notices.
    mode : extractive, generative or extractive_fallback; empty where nothing was answered.
    reason : why nothing was answered, in a word.
    """

    text: str
    decision: str
    confidence: float = 0.0
    question: str = ""
    topic: str = ""
    sentences: tuple[str, ...] = ()
    citations: tuple[Citation, ...] = ()
    mode: str = ""
    reason: str = ""

    def facts(self) -> dict[str, Any]:
        """Everything beside the text, as plain values."""
        return {
            "decision": self.decision,
            "confidence": round(self.confidence, 4),
            "question": self.question,
            "topic": self.topic,
            "mode": self.mode,
            "reason": self.reason,
            "citations": [vars(citation) for citation in self.citations],
        }


@dataclass
class Speech:
    """A text that is said piece by piece, to whoever listens."""

    listener: Callable[[str], None] | None = None
    pieces: list[str] = field(default_factory=list)

    def say(self, piece: str) -> None:
        """Add a piece."""
        self.pieces.append(piece)
        if self.listener is not None:
            self.listener(piece)

    @property
    def text(self) -> str:
        """Everything said so far."""
        return "".join(self.pieces)


def cited(sources: Sequence[Passage]) -> tuple[Citation, ...]:
    """The passages numbered from 1."""
    return tuple(
        Citation(number, passage.topic, passage.source, passage.id)
        for number, passage in enumerate(sources, start=1)
    )


def closing(citations: Sequence[Citation], mode: str, notice: str) -> str:
    """What follows an answer: its sources, how it came about, and the notice."""
    named = "\n".join(f"[{one.number}] {one.topic} - {one.source}" for one in citations)
    return f"\n\nSources:\n{named}\n{SAID[mode]}" + (f" {notice}" if notice else "")


_ABSTAINED = {
    "unknown": "I cannot answer that from the passages I know, so I leave it rather than guess.",
    "instructions": "That asks nothing of the subject I know about, so I leave it unanswered.",
    "language": "I only understand English, so I cannot answer that.",
}


def abstained(reason: str, about: Sequence[str]) -> str:
    """The text of silence; `about` are examples of topics."""
    return f"{_ABSTAINED[reason]} I know about {_listed(about)}."


def asked_back(topics: Sequence[str]) -> str:
    """The text of a question back: which of the `topics`, or which at all where there are none."""
    if not topics:
        return "Which topic do you mean? Please name it."
    return f"I am not sure what you mean. Do you ask about {_listed(topics, last='or')}?"


def _listed(names: Sequence[str], last: str = "and") -> str:
    return f" {last} ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def undecided(decision: str, reason: str, text: str, **known: Any) -> Reply:
    """A reply that answers nothing."""
    assert decision in {ABSTAIN, ASK_BACK, SAFETY}
    return Reply(text=text, decision=decision, reason=reason, **known)
