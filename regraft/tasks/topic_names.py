"""How far questions name the topics of passages: by meaning, and by letters if they are misspelt.

    named(q, t) = (cos(q, t) + share of the three-letter pieces of t that q has) / 2

Pieces count by how few topics have them. "sugar diabetes" names type 2 diabetes by its meaning,
"diabeetes" by its letters (n-grams against misspelling: Cavnar and Trenkle, "N-Gram-Based Text
Categorization", 1994).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from regraft.tasks.assistant.wording import words

if TYPE_CHECKING:
    from scipy import sparse

_PIECE = (3, 3)


class TopicNames:
    """The different topics of some passages.

    Attributes
    ----------
    names : each topic once, in the order of the passages.
    vectors : their embeddings, (names, dim), unit length.
    """

    def __init__(self, topics: Sequence[str], vectors: np.ndarray) -> None:
        """`topics` names that of every passage, empty where it has none; `vectors` belong to
        `distinct(topics)`."""
        self.names = distinct(topics)
        self.vectors = vectors
        number = {name: place for place, name in enumerate(self.names)}
        self._of_passage = np.array([number.get(topic, len(number)) for topic in topics], dtype=int)
        self._pieces, self._weights = _indexed(self.names)

    def named(self, questions: Sequence[str], embeddings: np.ndarray) -> np.ndarray:
        """How far each question names each passage's topic, (questions, passages), from the
        embeddings (n, dim) of the questions, unit length; 0 for passages without a topic."""
        found = np.zeros((len(questions), len(self.names) + 1), dtype=np.float32)
        if self.names:
            asked = self._pieces.transform(questions)
            asked.data[:] = 1
            shared = (asked @ self._weights).toarray()
            found[:, :-1] = (embeddings @ self.vectors.T + shared) / 2
        return found[:, self._of_passage]


def distinct(topics: Sequence[str]) -> list[str]:
    """Each topic once, in order; passages without one are left out."""
    return [topic for topic in dict.fromkeys(topics) if topic]


def _plain(text: str) -> str:
    """Without capitals, accents and punctuation marks."""
    return " ".join(words(text))


def _indexed(names: Sequence[str]) -> tuple[Any, sparse.csr_matrix]:
    """What takes texts apart, and what each piece is worth for each name: (pieces, names), columns
    that add up to 1."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    pieces = TfidfVectorizer(
        preprocessor=_plain, analyzer="char_wb", ngram_range=_PIECE, binary=True, norm=None
    )
    if not names:
        return pieces, None
    weights = pieces.fit_transform(names).T.tocsr()
    weights.data /= np.asarray(weights.sum(axis=0)).ravel()[weights.indices]
    return pieces, weights
