"""Find the passages that answer a question, by meaning and by words.

Every passage is scored: cosine of the encoder's embeddings, BM25, and what a `fusion` makes of the
two. Passages are few (thousands), so there is no approximate index.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from regraft.backbones.encoder import load_encoder
from regraft.backbones.transformer import TransformerEncoder, embed_texts
from regraft.errors import UserError
from regraft.tasks.bm25 import Bm25

_CARD = "retriever.json"


@dataclass(frozen=True)
class Passage:
    """What may answer a question: `text`. It alone is searched; the rest says where it is from."""

    id: str
    text: str
    question: str = ""
    topic: str = ""
    intent: str = ""
    source: str = ""


@dataclass(frozen=True)
class Found:
    """A passage by its number. Scores of different questions can be compared: see `Retriever`."""

    passage: int
    score: float


class Retriever:
    """Passages, and how well each answers a question.

    Attributes
    ----------
    vectors : embeddings of the passages, (passages, dim), unit length.
    dense_weight : share of the cosine in the score, the rest is that of BM25. Both are at most 1
        and mean the same for every question, so a low best score says that nothing fits. One half
        is plain fusion; 1 and 0 are the two alone.
    """

    def __init__(
        self,
        encoder: TransformerEncoder,
        passages: Sequence[Passage],
        *,
        vectors: np.ndarray | None = None,
        bm25: Bm25 | None = None,
        dense_weight: float = 0.5,
    ) -> None:
        """Embeds and indexes the passages where `vectors` and `bm25` are not given.

        Raises UserError without passages.
        """
        if not passages:
            raise UserError("there is nothing to search", got="0 passages", expected="at least 1")
        self.encoder = encoder
        self.passages = list(passages)
        texts = [passage.text for passage in self.passages]
        self.vectors = embed_texts(encoder, texts) if vectors is None else vectors
        self.bm25 = Bm25.of(texts) if bm25 is None else bm25
        self.dense_weight = dense_weight

    def embed_questions(self, questions: Sequence[str]) -> np.ndarray:
        """(n, dim), unit length."""
        return embed_texts(self.encoder, questions)

    def scores(self, questions: Sequence[str]) -> np.ndarray:
        """The score of every passage, (questions, passages)."""
        dense = self.embed_questions(questions) @ self.vectors.T
        lexical = self.bm25.scores(questions)
        return self.dense_weight * dense + (1 - self.dense_weight) * lexical

    def search(self, questions: Sequence[str], k: int = 5) -> list[list[Found]]:
        """The `k` best passages of each question, best first."""
        return [
            [Found(int(number), float(row[number])) for number in best(row, k)]
            for row in self.scores(questions)
        ]

    def save(self, folder: Path) -> None:
        """Write encoder, passages, vectors and index."""
        self.encoder.save(folder / "encoder")
        self.bm25.save(folder)
        np.save(folder / "vectors.npy", self.vectors)
        lines = [json.dumps(asdict(passage)) for passage in self.passages]
        (folder / "passages.jsonl").write_text("\n".join(lines), encoding="utf-8")
        (folder / _CARD).write_text(json.dumps({"dense_weight": self.dense_weight}))

    @classmethod
    def load(cls, folder: Path) -> Retriever:
        """What `save` wrote. Raises UserError where there is no retriever."""
        card = folder / _CARD
        if not card.is_file():
            raise UserError("this folder holds no retriever", where=str(folder), expected=_CARD)
        lines = (folder / "passages.jsonl").read_text(encoding="utf-8").splitlines()
        encoder = load_encoder(folder / "encoder")
        assert isinstance(encoder, TransformerEncoder)
        return cls(
            encoder,
            [Passage(**json.loads(line)) for line in lines],
            vectors=np.load(folder / "vectors.npy"),
            bm25=Bm25.load(folder),
            **json.loads(card.read_text()),
        )


def best(scores: np.ndarray, k: int) -> np.ndarray:
    """Numbers of the `k` highest of `scores` (n,), highest first; the first of equals first."""
    return np.argsort(-scores, kind="stable")[:k]
