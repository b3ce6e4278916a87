"""BM25: a passage is found by the rare words that it shares with the question.

Source: Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond", 2009,
equation 3.15, with the logarithm of Lucene, which is never negative.

>>> index = Bm25.of(["Asthma is treated with an inhaler.", "Fever goes away with rest."])
>>> int(index.scores(["how is asthma treated"]).argmax())
0
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import sparse
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

_WORD = re.compile(r"[^\W_]+")
_K1, _B = 1.2, 0.75


def words(text: str) -> list[str]:
    """Lower-case words without English function words; plurals count as singulars.

    >>> words("What are the Symptoms of type 2 diabetes?")
    ['symptom', 'type', '2', 'diabete']
    """
    found = [word for word in _WORD.findall(text.lower()) if word not in ENGLISH_STOP_WORDS]
    return [w[:-1] if len(w) > 3 and w.endswith("s") and not w.endswith("ss") else w for w in found]


@dataclass(frozen=True)
class Bm25:
    """Passages by their words.

    Attributes
    ----------
    vocabulary : word to column.
    weights : what each word adds to the score of each passage, (words, passages).
    highest : per word the most it can add to any score, (words,).
    """

    vocabulary: dict[str, int]
    weights: sparse.csr_matrix
    highest: np.ndarray

    @staticmethod
    def of(texts: Sequence[str]) -> Bm25:
        """Index passages."""
        counts = [Counter(words(text)) for text in texts]
        vocabulary = {word: i for i, word in enumerate(sorted(set().union(*counts)))}
        cells = [(vocabulary[w], j, n) for j, own in enumerate(counts) for w, n in own.items()]
        rows, columns, frequency = np.array(cells, dtype=np.int64).reshape(-1, 3).T
        lengths = np.array([sum(own.values()) for own in counts], dtype=np.float64)
        idf = _idf(np.bincount(rows, minlength=len(vocabulary)), len(texts))
        relative = lengths[columns] / max(lengths.mean(), 1.0) if len(texts) else lengths
        saturated = frequency * (_K1 + 1) / (frequency + _K1 * (1 - _B + _B * relative))
        matrix = sparse.csr_matrix(
            (idf[rows] * saturated, (rows, columns)), shape=(len(vocabulary), len(texts))
        )
        return Bm25(vocabulary, matrix, idf * (_K1 + 1))

    def scores(self, questions: Sequence[str]) -> np.ndarray:
        """(questions, passages) from 0 to 1: the share of the score that a passage would have in
        which every word of the question occurs without end (the theoretical maximum; Bruch, Gai and
        Ingber, "An Analysis of Fusion Functions for Hybrid Retrieval", 2023, section 4). A word
        that no passage has counts as the rarest, so what is asked of another domain scores low.
        """
        asked = [sorted(set(words(question))) for question in questions]
        known = [[self.vocabulary[w] for w in own if w in self.vocabulary] for own in asked]
        rows = np.repeat(np.arange(len(questions)), [len(own) for own in known])
        columns = np.array([column for own in known for column in own], dtype=np.int64)
        shape = (len(questions), len(self.vocabulary))
        present = sparse.csr_matrix((np.ones(len(rows)), (rows, columns)), shape=shape)
        rarest = _idf(np.zeros(1), self.weights.shape[1])[0] * (_K1 + 1)
        unknown = np.array([len(a) - len(k) for a, k in zip(asked, known, strict=True)])
        most = present @ self.highest + unknown * rarest
        found = (present @ self.weights).toarray() / np.maximum(most, 1e-9)[:, None]
        return np.asarray(found, dtype=np.float32)

    def save(self, folder: Path) -> None:
        """Write bm25.npz and vocabulary.json."""
        folder.mkdir(parents=True, exist_ok=True)
        sparse.save_npz(folder / "bm25.npz", self.weights)
        np.savez(folder / "bm25_highest.npz", highest=self.highest)
        (folder / "vocabulary.json").write_text(json.dumps(list(self.vocabulary)), encoding="utf-8")

    @staticmethod
    def load(folder: Path) -> Bm25:
        """What `save` wrote."""
        listed = json.loads((folder / "vocabulary.json").read_text(encoding="utf-8"))
        return Bm25(
            {word: i for i, word in enumerate(listed)},
            sparse.csr_matrix(sparse.load_npz(folder / "bm25.npz")),
            np.load(folder / "bm25_highest.npz")["highest"],
        )


def _idf(containing: np.ndarray, count: int) -> np.ndarray:
    """Inverse document frequency of words that so many of `count` passages contain."""
    return np.asarray(np.log1p((count - containing + 0.5) / (containing + 0.5)))
