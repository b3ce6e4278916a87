"""A retriever by rare words alone: the interface of the real one, in milliseconds."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from regraft.data.examples.health_questions import health_questions
from regraft.tasks.assistant.assistant import Assistant
from regraft.tasks.assistant.fitting import fit_assistant
from regraft.tasks.assistant.wording import content_words, stem
from regraft.tasks.topic_names import TopicNames, distinct

ROWS = health_questions()
TOPICS = list(dict.fromkeys(row["topic"] for row in ROWS))
VALIDATION, TEST = set(TOPICS[::3]), set(TOPICS[1::3])


@dataclass(frozen=True)
class Passage:
    id: str
    text: str
    topic: str
    intent: str
    source: str


@dataclass(frozen=True)
class Hit:
    passage: int
    score: float
    named: float


class WordRetriever:
    """Cosine of words weighted by their rarity, and how far the topic is named."""

    def __init__(self, passages: Sequence[Passage]) -> None:
        self.passages = list(passages)
        bags = [Counter(self._words(f"{p.topic} {p.text}")) for p in self.passages]
        counts = Counter(word for bag in bags for word in bag)
        self._columns = {word: column for column, word in enumerate(sorted(counts))}
        self._rarity = {w: math.log(1 + len(bags) / n) for w, n in counts.items()}
        self._vectors = np.stack([self._vector(bag) for bag in bags])
        topics = [passage.topic for passage in self.passages]
        self._topics = TopicNames(topics, self.embed_questions(distinct(topics)))

    def embed_questions(self, questions: list[str]) -> np.ndarray:
        return np.stack([self._vector(Counter(self._words(text))) for text in questions])

    def search(self, questions: list[str], k: int = 5) -> list[list[Hit]]:
        asked = self.embed_questions(questions)
        named = self._topics.named(questions, asked)
        return [
            [
                Hit(int(n), float(row[n]), float(names[n]))
                for n in np.argsort(-row, kind="stable")[:k]
            ]
            for row, names in zip(asked @ self._vectors.T + named, named, strict=True)
        ]

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "passages.json").write_text(json.dumps([asdict(p) for p in self.passages]))

    @staticmethod
    def load(folder: Path) -> WordRetriever:
        return WordRetriever(
            [Passage(**values) for values in json.loads((folder / "passages.json").read_text())]
        )

    @staticmethod
    def _words(text: str) -> list[str]:
        return [stem(word) for word in content_words(text)]

    def _vector(self, bag: Counter[str]) -> np.ndarray:
        vector = np.zeros(len(self._columns) + 1)
        unknown = max(self._rarity.values())
        for word, count in bag.items():
            weight = self._rarity.get(word, unknown) * (1 + math.log(count))
            column = self._columns.get(word, len(self._columns))
            vector[column] = math.hypot(vector[column], weight)
        norm = np.linalg.norm(vector)
        own = vector / norm if norm else vector
        own[-1] = 0.0  # unknown words fit nothing
        return own


def passages_of(rows: Sequence[dict[str, str]]) -> list[Passage]:
    """The answers of the rows, each once."""
    answers = {row["answer"]: row for row in rows}
    return [
        Passage(f"p{n}", row["answer"], row["topic"], row["intent"], row["source"])
        for n, row in enumerate(answers.values())
    ]


def fitted(rows: Sequence[dict[str, str]] = ROWS) -> Assistant:
    """An assistant over the embedded set, its thresholds from the validation topics. Words alone
    know no lay name and no misspelling, so it is fitted on the textbook's form."""
    retriever = WordRetriever(passages_of(rows))
    number = {passage.text: n for n, passage in enumerate(retriever.passages)}
    asked = [r for r in rows if r["topic"] in VALIDATION and r["style"] == "template"]
    return fit_assistant(
        retriever, [r["question"] for r in asked], [{number[r["answer"]]} for r in asked]
    )
