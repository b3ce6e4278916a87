"""The assistant: a dialogue in, a reply out."""

from __future__ import annotations

import copy
import json
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from regraft.data.language import language_of
from regraft.errors import UserError
from regraft.tasks.assistant.composition import Quoted, compose
from regraft.tasks.assistant.confidence import (
    ABSTAIN,
    ANSWER,
    ASK_BACK,
    FEATURES,
    Confidence,
    Evidence,
)
from regraft.tasks.assistant.dialogue import Resolved, Topics, resolve
from regraft.tasks.assistant.instructions import without_instructions
from regraft.tasks.assistant.knowledge import Hit, Retriever
from regraft.tasks.assistant.replies import (
    EXTRACTIVE,
    NOTICE,
    SAFETY,
    Reply,
    Speech,
    abstained,
    asked_back,
    cited,
    closing,
    undecided,
)
from regraft.tasks.assistant.safety import alarm
from regraft.tasks.assistant.wording import clean, words

CARD = "assistant.json"
RETRIEVER = "retriever"
LONGEST = 4000
"""Characters of a question."""
_TURNS = 8  # earlier questions that a follow-up may lean on
_HITS = 5
_EXAMPLES = 4
_NEAR = 0.02  # scores of two half-named topics that are as good as equal

Messages = Sequence[dict[str, str]]


class Writer(Protocol):
    """Words an answer from passages: see `regraft.tasks.assistant.generation`."""

    def write(self, question: str, quoted: Quoted, speech: Speech) -> tuple[str, tuple[str, ...]]:
        """Say the answer; returns the mode it was made in and its sentences."""


@dataclass(frozen=True)
class Judgement:
    """Of n questions: the decisions, the probability that each belongs to the domain (n,), the one
    that its best passage is the right one (n,), and the numbers of these passages (n,)."""

    decisions: list[str]
    in_domain: np.ndarray
    correct: np.ndarray
    best: np.ndarray


class Assistant:
    """Answers from the passages of a retriever, or not at all.

    `writer` words the answers; without one they are the passages' own sentences. `notice` ends
    every answer.
    """

    def __init__(
        self,
        retriever: Retriever,
        confidence: Confidence,
        *,
        writer: Writer | None = None,
        notice: str = NOTICE,
    ) -> None:
        self.retriever, self.confidence = retriever, confidence
        self.writer, self.notice = writer, notice
        self._topics = Topics(passage.topic for passage in retriever.passages)
        self.evidence = Evidence(retriever.passages)

    def reply(self, messages: Messages, say: Callable[[str], None] | None = None) -> Reply:
        """The reply to a dialogue of {"role", "content"}, the last of the role `user`.

        Only questions of users are read: what other roles say steers nothing. `say` gets the text
        in pieces, each as soon as it is certain.

        Raises `UserError` when the last question is missing, empty or longer than `LONGEST`. A
        question that raises an alarm is answered all the same.
        """
        asked = _questions(messages)
        if found := alarm(asked[-1]):
            return _told(undecided(SAFETY, found.kind, found.reply), say)
        last = self.question(messages)
        own = without_instructions(last)
        if language_of(own) not in ("en", ""):
            return _told(self._silent("language", question=own), say)
        if not words(own):
            reason = "instructions" if words(last) else "unknown"
            return _told(self._silent(reason, question=last), say)
        resolved = resolve(own, topics=self._topics, last=self._before(asked[:-1]))
        if resolved.open:
            text = asked_back([])
            return _told(undecided(ASK_BACK, "open", text, question=resolved.question), say)
        return self._decided(resolved, say)

    def worded_by(self, writer: Writer) -> Assistant:
        """The same assistant, whose answers are worded by `writer`."""
        other = copy.copy(self)
        other.writer = writer
        return other

    def question(self, messages: Messages) -> str:
        """The last question of a dialogue, cleaned. Raises `UserError` as `reply` does."""
        return _checked(_questions(messages)[-1])

    def raises_alarm(self, messages: Messages) -> bool:
        """Will the reply be a safety reply?"""
        return alarm(_questions(messages)[-1]) is not None

    def judge(self, questions: Sequence[str]) -> Judgement:
        """What `reply` would decide on questions that stand alone, in a batch, without words."""
        return self._judged(*self.features_and_best(questions))

    def judge_without_topic(
        self, questions: Sequence[str], relevant: Sequence[Collection[int]]
    ) -> Judgement:
        """The same if no passage were about the topics of each question's right passages, which
        `relevant` names by number. Questions of which that leaves nothing, or whose right passages
        have no topic, are left out."""
        return self._judged(*self.features_without_topic(questions, relevant))

    def features_and_best(self, questions: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """What retrieval says of each question, (n, features) as `Evidence` has it, and the numbers
        of the best passages (n,)."""
        return self._features(questions, [frozenset()] * len(questions), k=_HITS)

    def features_without_topic(
        self, questions: Sequence[str], relevant: Sequence[Collection[int]]
    ) -> tuple[np.ndarray, np.ndarray]:
        """The same for `judge_without_topic`."""
        topics = [passage.topic.casefold() for passage in self.retriever.passages]
        gone = [frozenset(topics[number] for number in own) for own in relevant]
        kept = [place for place, own in enumerate(gone) if own and "" not in own]
        counts = Counter(topics)
        most = max((sum(counts[name] for name in gone[place]) for place in kept), default=0)
        return self._features(
            [questions[place] for place in kept], [gone[place] for place in kept], k=_HITS + most
        )

    def _features(
        self, questions: Sequence[str], gone: Sequence[frozenset[str]], *, k: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Of the best of `k` passages that are not about the topics in `gone`."""
        rows, best = [np.empty((0, len(FEATURES)))], []
        asked = [_readable(question) for question in questions]
        found = self.retriever.search(asked, k=k) if asked else []
        for question, hits, away in zip(asked, found, gone, strict=True):
            left = [hit for hit in hits if self._topic_of(hit).casefold() not in away][:_HITS]
            if left:
                rows.append(self.evidence.features(question, left, gone=away)[None])
                best.append(left[0].passage)
        return np.concatenate(rows), np.array(best, dtype=int)

    def _judged(self, features: np.ndarray, best: np.ndarray) -> Judgement:
        return Judgement(
            self.confidence.decide(features),
            self.confidence.in_domain.probability(features),
            self.confidence.correct.probability(features),
            best,
        )

    def save(self, folder: Path) -> None:
        """Write `retriever/` and assistant.json (last)."""
        self.retriever.save(folder / RETRIEVER)
        card = {"notice": self.notice, "confidence": self.confidence.to_json()}
        (folder / CARD).write_text(json.dumps(card, indent=2), encoding="utf-8")

    @staticmethod
    def load(folder: Path, *, writer: Writer | None = None) -> Assistant:
        """What `save` wrote. Raises `UserError` where there is none."""
        from regraft.tasks.retriever import Retriever as Saved

        card = Path(folder) / CARD
        if not card.is_file():
            raise UserError("this folder holds no assistant", where=str(folder), expected=CARD)
        values = json.loads(card.read_text(encoding="utf-8"))
        return Assistant(
            Saved.load(Path(folder) / RETRIEVER),
            Confidence.from_json(values["confidence"]),
            writer=writer,
            notice=values["notice"],
        )

    def _decided(self, resolved: Resolved, say: Callable[[str], None] | None) -> Reply:
        hits = self.retriever.search([resolved.question], k=_HITS)[0]
        features = self.evidence.features(resolved.question, hits)[None]
        known: dict[str, Any] = {
            "question": resolved.question,
            "topic": resolved.topic,
            "confidence": float(self.confidence.correct.probability(features)[0]),
        }
        decision = self.confidence.decide(features)[0]
        if decision == ABSTAIN:
            return _told(self._silent("unknown", **known), say)
        unclear = self._half_named(resolved, hits)
        if decision == ASK_BACK or unclear:
            topics = unclear or self._topics_of(hits)
            return _told(undecided(ASK_BACK, "ambiguous", asked_back(topics), **known), say)
        return self._answered(hits, known, say)

    def _answered(
        self, hits: Sequence[Hit], known: dict[str, Any], say: Callable[[str], None] | None
    ) -> Reply:
        passages = self.retriever.passages
        quoted = compose(known["question"], hits, passages, self.retriever.embed_questions)
        if not quoted.quotes:
            return _told(self._silent("unknown", **known), say)
        speech = Speech(say)
        mode, said = quote_all(quoted, speech) if self.writer is None else self.writer.write(
            known["question"], quoted, speech
        )  # fmt: skip
        citations = cited(quoted.sources)
        speech.say(closing(citations, mode, self.notice))
        known["topic"] = quoted.sources[0].topic
        return Reply(
            text=speech.text,
            decision=ANSWER,
            sentences=said,
            citations=citations,
            mode=mode,
            **known,
        )

    def _before(self, asked: Sequence[str]) -> Resolved | None:
        """What the earlier questions of the dialogue came to."""
        last: Resolved | None = None
        for question in asked[-_TURNS:]:
            own = without_instructions(_readable(question))
            if words(own) and alarm(question) is None:
                found = resolve(own, topics=self._topics, last=last)
                last = found if found.topic or found.open else self._guessed(found, last)
        return last

    def _guessed(self, found: Resolved, last: Resolved | None) -> Resolved | None:
        """A question that names no topic is about that of its best passage, if it was answered."""
        hits = self.retriever.search([found.question], k=_HITS)[0]
        features = self.evidence.features(found.question, hits)[None]
        if self.confidence.decide(features)[0] != ANSWER:
            return last
        return Resolved(found.question, self._topic_of(hits[0]))

    def _topic_of(self, hit: Hit) -> str:
        return self.retriever.passages[hit.passage].topic

    def _topics_of(self, hits: Sequence[Hit]) -> list[str]:
        names = [self._topic_of(hit) for hit in hits]
        return list(dict.fromkeys(name for name in names if name))[:3]

    def _half_named(self, resolved: Resolved, hits: Sequence[Hit]) -> list[str]:
        """The topics that the question may mean, where it names a part of several ("diabetes" of
        two kinds) and their passages are equally good."""
        if resolved.topic:
            return []
        asked = set(words(resolved.question))
        near = [hit for hit in hits if hit.score >= hits[0].score - _NEAR]
        shared: dict[str, set[str]] = {}
        for name in self._topics_of(near):
            if common := asked & set(words(name)):
                shared[name] = common
        alike = [name for name in shared if shared[name] == next(iter(shared.values()))]
        return alike if len(alike) > 1 else []

    def _silent(self, reason: str, **known: Any) -> Reply:
        names = dict.fromkeys(passage.topic for passage in self.retriever.passages)
        examples = [name for name in names if name][:_EXAMPLES]
        text = abstained(reason, examples or ["the passages I was given"])
        return undecided(ABSTAIN, reason, text, **known)


def quote_all(quoted: Quoted, speech: Speech) -> tuple[str, tuple[str, ...]]:
    """Say the quotes as they are."""
    for number, piece in enumerate(quoted.pieces()):
        speech.say(piece if number == 0 else f" {piece}")
    return EXTRACTIVE, tuple(quote.sentence for quote in quoted.quotes)


def _told(reply: Reply, say: Callable[[str], None] | None) -> Reply:
    if say is not None:
        say(reply.text)
    return reply


def _questions(messages: Messages) -> list[str]:
    asked = [str(one.get("content", "")) for one in messages if one.get("role") == "user"]
    if not messages or messages[-1].get("role") != "user":
        raise UserError(
            "the dialogue does not end with a question",
            where="messages",
            got=f"{len(messages)} messages",
            expected="a last one of the role user",
        )
    return asked


def _checked(question: str) -> str:
    if len(question) > LONGEST:
        raise UserError(
            "the question is too long",
            where="messages",
            got=f"{len(question):,} characters",
            expected=f"at most {LONGEST:,}",
            fix="ask about one thing at a time",
        )
    found = clean(question)
    if not found:
        raise UserError("the question is empty", where="messages", expected="text")
    return "\n".join(line for part in question.splitlines() if (line := clean(part)))


def _readable(question: str) -> str:
    return clean(question[:LONGEST]) or "?"
