"""How often is the right passage found first, and does the score say when it is not?"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from regraft.errors import UserError
from regraft.evaluation.bootstrap import Floats, Ints, accuracy_interval
from regraft.evaluation.calibration import coverage_curve
from regraft.evaluation.paired_bootstrap import paired_bootstrap
from regraft.evaluation.pairs import pair

DEPTH = 10
"""nDCG reads so many passages."""
_OPENING_QUESTION = re.compile(r"(what|how|who|is|are|can|does|do|which|why|when)\b[^.!?]*\?", re.I)
_PUNCTUATION = re.compile(r"[^\w\s]+")


@dataclass(frozen=True)
class Ranking:
    """What a search made of some questions.

    Attributes
    ----------
    rank : place of the first right passage of each question, from 1, (questions,). A wrong passage
        with the same score comes before it, so a search that scores everything alike finds nothing.
    ndcg : nDCG@10 of each question, every right passage being worth the same (Jarvelin and
        Kekalainen, 2002), (questions,).
    confidence : score of the best passage, (questions,).
    """

    rank: Ints
    ndcg: Floats
    confidence: Floats

    @property
    def hit(self) -> np.ndarray:
        """Whether the best passage is right, (questions,)."""
        return self.rank == 1


def rank_passages(scores: ArrayLike, relevant: Sequence[Sequence[int]]) -> Ranking:
    """Rank from `scores` (questions, passages) and the numbers of each question's right passages.

    Raises UserError for empty or NaN scores and for a question without a right passage.
    """
    values = np.asarray(scores, dtype=np.float64)
    if values.ndim != 2 or not values.size or np.isnan(values).any():
        raise UserError("no scores to rank", got=f"shape {values.shape}", expected="no NaN")
    if len(relevant) != len(values) or not all(len(own) for own in relevant):
        raise UserError(
            "every question needs a right passage", got=f"{len(values)} questions", expected="one"
        )
    ranks, gains = [], []
    for row, own in zip(values, relevant, strict=True):
        right = np.zeros(len(row), dtype=bool)
        right[list(own)] = True
        order = np.lexsort((right, -row))
        places = np.flatnonzero(right[order]) + 1
        ranks.append(places[0])
        gains.append(_discounted(places) / _discounted(np.arange(1, len(places) + 1)))
    return Ranking(np.array(ranks), np.array(gains), values.max(axis=1))


def _discounted(places: np.ndarray) -> float:
    return float((1 / np.log2(1 + places[places <= DEPTH])).sum())


def retrieval_metrics(
    ranking: Ranking, groups: ArrayLike | Sequence[Any] | None = None
) -> dict[str, Any]:
    """{count, recall_at_1 with low and high (95 %, bootstrap over groups), recall_at_5, mrr, ndcg,
    error_at_80 (share of wrong answers among the surest 80 %)}."""
    low, high = accuracy_interval(ranking.hit, groups)
    return {
        "count": len(ranking.rank),
        "recall_at_1": float(ranking.hit.mean()),
        "low": low,
        "high": high,
        "recall_at_5": float((ranking.rank <= 5).mean()),
        "mrr": float((1 / ranking.rank).mean()),
        "ndcg": float(ranking.ndcg.mean()),
        "error_at_80": error_at(ranking.hit, ranking.confidence, 0.8),
    }


def error_at(correct: ArrayLike, confidence: ArrayLike, coverage: float) -> float:
    """Share of wrong answers among the surest ones, so many of all that `coverage` is reached."""
    curve = coverage_curve(correct, confidence)
    return 1 - next(p["accuracy"] for p in curve if p["coverage"] >= coverage - 1e-9)


def better_than(
    ranking: Ranking, other: Ranking, groups: ArrayLike | Sequence[Any] | None = None
) -> dict[str, float]:
    """Paired bootstrap of recall@1, whole groups at a time: {difference, low, high, p_better}."""
    right = np.ones(len(ranking.rank), dtype=np.int64)
    pairs = pair(right, ranking.hit.astype(int), other.hit.astype(int), groups=groups)
    return paired_bootstrap(pairs)


def abstention(inside: ArrayLike, outside: ArrayLike, threshold: float) -> dict[str, float]:
    """{answered: share of in-domain questions answered, abstained: share of questions from
    elsewhere that are not} from the confidence in each, (n,) and (m,); the threshold itself is
    answered.

    Raises UserError when there are none of either.
    """
    known, unknown = np.asarray(inside, np.float64), np.asarray(outside, np.float64)
    if not len(known) or not len(unknown):
        raise UserError(
            "abstention is measured on questions of both kinds",
            got=f"{len(known)} in-domain, {len(unknown)} others",
        )
    return {
        "answered": float((known >= threshold).mean()),
        "abstained": float((unknown < threshold).mean()),
    }


def echoes(question: str, answer: str) -> bool:
    """Whether an answer repeats its question: it opens with a question, or with the words of this
    one. Then words alone find it.

    >>> echoes("What are the symptoms of gout ?", "What are the signs of gout? Pain in the toe.")
    True
    >>> echoes("What are the symptoms of gout ?", "Gout attacks start with pain in the toe.")
    False
    """
    asked, opening = (_PUNCTUATION.sub(" ", text.lower()).split() for text in (question, answer))
    repeated = opening[: len(asked)] == asked
    return bool(_OPENING_QUESTION.match(answer.strip())) or repeated
