"""How well a passage answers a question, from embeddings of a frozen encoder and from words.

    score = dense cos(q + q A, p + p B) + lexical BM25
            + intent like(q) log(sum_i P(i | q) P(i | p) + floor) + topic named(q, topic of p)

A and B are learned by contrast. A general encoder finds the topic and often misses what is asked of
it; the third term mends that: the intent of a question and the intent that a passage answers are
read off by two linear heads. Heads know the wording that they were trained on, so the term fades
for questions that are unlike all of it. The last term finds passages that do not say what they are
about (see `topic_names`). The encoder itself stays what it was, for every other use.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import softmax

from regraft.backbones.heads.linear import LinearHead, unit_rows

_FLOOR = 0.05
"""Least probability that question and passage are about the same intent: heads are wrong at times,
and a question may ask what no intent stands for."""


@dataclass(frozen=True)
class Adapter:
    """Residual maps of the embeddings of questions and passages, each (dim, dim); zeros change
    nothing."""

    question: np.ndarray
    passage: np.ndarray

    def questions(self, embeddings: np.ndarray) -> np.ndarray:
        """(n, dim) to (n, dim), unit length."""
        return _mapped(embeddings, self.question)

    def passages(self, embeddings: np.ndarray) -> np.ndarray:
        """(n, dim) to (n, dim), unit length."""
        return _mapped(embeddings, self.passage)


@dataclass(frozen=True)
class Familiar:
    """Questions whose wording the heads know.

    Attributes
    ----------
    questions : their embeddings, (k, dim), unit length.
    enough : the cosine with the nearest of them from which a question counts as like them.
    """

    questions: np.ndarray
    enough: float

    def like(self, questions: np.ndarray) -> np.ndarray:
        """How like them each question (n, dim) is, (n,): 1 from `enough` on, 0 up to its half."""
        nearest = (questions @ self.questions.T).max(axis=1)
        return np.clip(2 * nearest / self.enough - 1, 0, 1)


@dataclass(frozen=True)
class Weights:
    """What each term counts; the scale is that of the cosine. The default is plain fusion."""

    dense: float = 0.5
    lexical: float = 0.5
    intent: float = 0.0
    topic: float = 0.0


@dataclass(frozen=True)
class Matcher:
    """The parts of the score.

    Attributes
    ----------
    intents : heads of questions and of passages on the encoder's embeddings, classes in the same
        order.
    familiar : the questions that the heads were trained on; without them every question counts as
        like them.
    """

    weights: Weights = field(default_factory=Weights)
    adapter: Adapter | None = None
    intents: tuple[LinearHead, LinearHead] | None = None
    familiar: Familiar | None = None

    def terms(
        self,
        questions: np.ndarray,
        passages: np.ndarray,
        lexical: np.ndarray,
        named: np.ndarray | None = None,
    ) -> np.ndarray:
        """The terms before their weights, (questions, passages, 4), from embeddings (n, dim) and
        (m, dim) of unit length, BM25 (n, m), and how far the topics are named (n, m), which may be
        left out where passages have none."""
        q, p = questions, passages
        if self.adapter is not None:
            q, p = self.adapter.questions(q), self.adapter.passages(p)
        same = np.zeros_like(lexical) if self.intents is None else self._same(questions, passages)
        named = np.zeros_like(lexical) if named is None else named
        return np.stack([q @ p.T, lexical, same, named], axis=2)

    def scores(
        self,
        questions: np.ndarray,
        passages: np.ndarray,
        lexical: np.ndarray,
        named: np.ndarray | None = None,
    ) -> np.ndarray:
        """(questions, passages); arguments as for `terms`."""
        found = self.terms(questions, passages, lexical, named) @ astuple(self.weights)
        return np.asarray(found, dtype=np.float32)

    def _same(self, questions: np.ndarray, passages: np.ndarray) -> np.ndarray:
        assert self.intents is not None
        asked, answered = (
            softmax(head.logits(x), axis=1)
            for head, x in zip(self.intents, (questions, passages), strict=True)
        )
        same = np.log(asked @ answered.T + _FLOOR)
        if self.familiar is not None:
            same *= self.familiar.like(questions)[:, None]
        return np.asarray(same, dtype=np.float32)

    def save(self, file: Path) -> None:
        """Write an .npz."""
        arrays: dict[str, Any] = {"weights": np.array(astuple(self.weights))}
        if self.adapter is not None:
            arrays |= {"map_q": self.adapter.question, "map_p": self.adapter.passage}
        if self.intents is not None:
            for side, head in zip("qp", self.intents, strict=True):
                arrays |= {f"head_{side}": head.weight, f"bias_{side}": head.bias}
        if self.familiar is not None:
            arrays |= {"familiar": self.familiar.questions, "enough": self.familiar.enough}
        np.savez(file, **arrays)

    @staticmethod
    def load(file: Path) -> Matcher:
        """What `save` wrote."""
        with np.load(file) as found:
            made = Matcher(Weights(*map(float, found["weights"])))
            if "map_q" in found:
                made = replace(made, adapter=Adapter(found["map_q"], found["map_p"]))
            if "head_q" in found:
                q, p = (LinearHead(found[f"head_{s}"], found[f"bias_{s}"], 0.0) for s in "qp")
                made = replace(made, intents=(q, p))
            if "familiar" in found:
                familiar = Familiar(found["familiar"], float(found["enough"]))
                made = replace(made, familiar=familiar)
            return made


def _mapped(embeddings: np.ndarray, change: np.ndarray) -> np.ndarray:
    return unit_rows(embeddings + embeddings @ change).astype(np.float32)
