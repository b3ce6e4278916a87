"""Find the passages that answer a question, by meaning, by words and by what is asked.

Every passage is scored from the embeddings of an encoder that stays as it is, and from BM25 (see
`matching`). Passages are few (thousands), so there is no approximate index.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np

from regraft.backbones.encoder import load_encoder
from regraft.backbones.transformer import TransformerEncoder, embed_texts
from regraft.errors import UserError
from regraft.tasks.bm25 import Bm25
from regraft.tasks.matching import Matcher
from regraft.tasks.topic_names import TopicNames, distinct
from regraft.tasks.vocabulary import Vocabulary

_MATCHER = "matcher.npz"


@dataclass(frozen=True)
class Passage:
    """What may answer a question: `text`, about a `topic`. The rest says where it is from."""

    id: str
    text: str
    question: str = ""
    topic: str = ""
    intent: str = ""
    source: str = ""


@dataclass(frozen=True)
class Found:
    """A passage by its number. Scores of different questions can be compared: see `Retriever`.
    `named` says how far the question names its topic (see `topic_names`)."""

    passage: int
    score: float
    named: float


class Retriever:
    """Passages, and how well each answers a question.

    Attributes
    ----------
    vectors : embeddings of the passages, (passages, dim), unit length.
    topics : the names of their topics.
    vocabulary : brings misspelt words of questions to those of passages and topics.
    matcher : what they are scored with; without one cosine and BM25 count alike. Every term means
        the same for every question, so a low best score says that nothing fits.
    """

    def __init__(
        self,
        encoder: TransformerEncoder,
        passages: Sequence[Passage],
        *,
        vectors: np.ndarray | None = None,
        topics: TopicNames | None = None,
        bm25: Bm25 | None = None,
        matcher: Matcher | None = None,
    ) -> None:
        """Embeds and indexes the passages where `vectors`, `topics` and `bm25` are not given.

        Raises UserError without passages.
        """
        if not passages:
            raise UserError("there is nothing to search", got="0 passages", expected="at least 1")
        self.encoder = encoder
        self.passages = list(passages)
        texts = [passage.text for passage in self.passages]
        self.vectors = embed_texts(encoder, texts) if vectors is None else vectors
        self.topics = topics or topic_names(self.passages, partial(embed_texts, encoder))
        self.bm25 = Bm25.of(texts) if bm25 is None else bm25
        self.vocabulary = vocabulary([*texts, *self.topics.names], encoder)
        self.matcher = matcher or Matcher()

    def embed_questions(self, questions: Sequence[str]) -> np.ndarray:
        """(n, dim), unit length; of what misspelt words were probably meant to be."""
        return embed_texts(self.encoder, self._respelt(questions))

    def _respelt(self, questions: Sequence[str]) -> list[str]:
        return [self.vocabulary.respelt(question) for question in questions]

    def scores(self, questions: Sequence[str]) -> np.ndarray:
        """The score of every passage, (questions, passages)."""
        return self._scored(questions)[0]

    def search(self, questions: Sequence[str], k: int = 5) -> list[list[Found]]:
        """The `k` best passages of each question, best first."""
        return [
            [Found(int(n), float(scores[n]), float(named[n])) for n in best(scores, k)]
            for scores, named in zip(*self._scored(questions), strict=True)
        ]

    def _scored(self, questions: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """The score of every passage and how far its topic is named, (questions, passages) each."""
        questions = self._respelt(questions)
        asked = embed_texts(self.encoder, questions)
        named = self.topics.named(questions, asked)
        lexical = self.bm25.scores(questions)
        return self.matcher.scores(asked, self.vectors, lexical, named), named

    def save(self, folder: Path) -> None:
        """Write encoder, passages, vectors and index."""
        self.encoder.save(folder / "encoder")
        self.bm25.save(folder)
        np.savez(folder / "vectors.npz", vectors=self.vectors, topics=self.topics.vectors)
        lines = [json.dumps(asdict(passage)) for passage in self.passages]
        (folder / "passages.jsonl").write_text("\n".join(lines), encoding="utf-8")
        self.matcher.save(folder / _MATCHER)

    @classmethod
    def load(cls, folder: Path) -> Retriever:
        """What `save` wrote. Raises UserError where there is no retriever."""
        if not (folder / _MATCHER).is_file():
            raise UserError("this folder holds no retriever", where=str(folder), expected=_MATCHER)
        lines = (folder / "passages.jsonl").read_text(encoding="utf-8").splitlines()
        encoder = load_encoder(folder / "encoder")
        assert isinstance(encoder, TransformerEncoder)
        passages = [Passage(**json.loads(line)) for line in lines]
        with np.load(folder / "vectors.npz") as found:
            vectors, topics = found["vectors"], found["topics"]
        return cls(
            encoder,
            passages,
            vectors=vectors,
            topics=TopicNames([passage.topic for passage in passages], topics),
            bm25=Bm25.load(folder),
            matcher=Matcher.load(folder / _MATCHER),
        )


def vocabulary(texts: Sequence[str], encoder: TransformerEncoder) -> Vocabulary:
    """The words of texts; those that the encoder reads in one piece are no errors either."""
    return Vocabulary(texts, lambda word: encoder.tokens.broken_share(word) == 0)


def topic_names(
    passages: Sequence[Passage], embed: Callable[[list[str]], np.ndarray]
) -> TopicNames:
    """The topics of passages, embedded."""
    topics = [passage.topic for passage in passages]
    return TopicNames(topics, embed(distinct(topics)))


def best(scores: np.ndarray, k: int) -> np.ndarray:
    """Numbers of the `k` highest of `scores` (n,), highest first; the first of equals first."""
    return np.argsort(-scores, kind="stable")[:k]
