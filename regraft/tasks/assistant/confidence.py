"""How sure the assistant may be: two logistic regressions on what retrieval found.

One tells questions of the domain from others and decides between answer, question back and silence;
the other is the probability that the best passage is the right one, which is reported. Both are
fitted on validation questions, the other domains' being those of `data.examples.general_questions`
(Platt, "Probabilistic Outputs for Support Vector Machines", 1999; selective answering: El-Yaniv and
Wiener, JMLR 11, 2010).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from regraft.errors import UserError
from regraft.tasks.assistant.knowledge import Hit, Passage
from regraft.tasks.assistant.wording import content_words, stem

ANSWER, ASK_BACK, ABSTAIN = "answer", "ask_back", "abstain"
FEATURES = ("best_score", "margin", "mean_score", "covered", "known")
_ANSWERED, _SILENT = 0.95, 0.97  # aims on validation, above what is asked for (0.9) on others
_FEWEST = 20


class Evidence:
    """The features of a question and its hits, given all passages."""

    def __init__(self, passages: Sequence[Passage]) -> None:
        self._passages = passages
        self._stems = [_stems(f"{passage.topic} {passage.text}") for passage in passages]
        count = Counter(word for own in self._stems for word in own)
        self._rarity = {word: math.log1p(len(passages) / n) for word, n in count.items()}
        self._rarest = math.log1p(2 * len(passages))

    def features(self, question: str, hits: Sequence[Hit]) -> np.ndarray:
        """The values of `FEATURES`, (5,): the best score; how far it is above the best of another
        topic; the mean of all hits; which share of the question, by the rarity of its words, the
        best passage holds, and which the passages know at all."""
        asked = _stems(question)
        weights = {word: self._rarity.get(word, self._rarest) for word in asked}
        total = sum(weights.values()) or 1.0
        best = hits[0]
        topic = self._passages[best.passage].topic
        others = [hit.score for hit in hits if self._passages[hit.passage].topic != topic]
        return np.array(
            [
                best.score,
                best.score - max(others, default=hits[-1].score),
                float(np.mean([hit.score for hit in hits])),
                sum(weights[word] for word in asked & self._stems[best.passage]) / total,
                sum(weights[word] for word in asked if word in self._rarity) / total,
            ]
        )


def _stems(text: str) -> set[str]:
    return {stem(word) for word in content_words(text)}


@dataclass(frozen=True)
class Logistic:
    """Probability 1 / (1 + exp(-(weights . features + bias)))."""

    weights: tuple[float, ...]
    bias: float

    def probability(self, features: np.ndarray) -> np.ndarray:
        """(n, features) to (n,)."""
        return np.asarray(1 / (1 + np.exp(-(features @ np.array(self.weights) + self.bias))))


@dataclass(frozen=True)
class Confidence:
    """Both regressions and the two thresholds on `in_domain`."""

    in_domain: Logistic
    correct: Logistic
    abstain_below: float
    answer_from: float

    def decide(self, features: np.ndarray) -> list[str]:
        """ANSWER, ASK_BACK or ABSTAIN for each row of features (n, features)."""
        found = self.in_domain.probability(features)
        return [
            ANSWER if p >= self.answer_from else ABSTAIN if p < self.abstain_below else ASK_BACK
            for p in found
        ]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @staticmethod
    def from_json(values: dict[str, Any]) -> Confidence:
        """What `to_json` gave."""
        models = {
            name: Logistic(tuple(values[name]["weights"]), values[name]["bias"])
            for name in ("in_domain", "correct")
        }
        return Confidence(
            abstain_below=values["abstain_below"], answer_from=values["answer_from"], **models
        )


def fit_confidence(inside: np.ndarray, right: np.ndarray, outside: np.ndarray) -> Confidence:
    """Fit on features of validation questions of the domain `inside` (n, features), of which
    `right` (n,) says whether the best passage was the right one, and of other questions `outside`.

    Between the thresholds the assistant asks back. They are set so that 95 % of `inside` are
    answered and 97 % of `outside` are not even asked back, where both can be had.

    Raises `UserError` for fewer than 20 questions of a kind, or features that are not finite.
    """
    for name, given in (("in-domain", inside), ("out-of-domain", outside)):
        if len(given) < _FEWEST or not np.isfinite(given).all():
            raise UserError(
                f"the {name} questions cannot calibrate the assistant",
                got=f"{len(given)} questions" if len(given) < _FEWEST else "scores not finite",
                expected=f"at least {_FEWEST} validation questions with finite scores",
                fix="give the validation split more topics",
            )
    both = np.concatenate([inside, outside])
    belongs = np.repeat([1, 0], [len(inside), len(outside)])
    in_domain = _logistic(both, belongs)
    correct = _logistic(both, np.concatenate([right.astype(int), np.zeros(len(outside), int)]))
    low, high = _thresholds(in_domain.probability(inside), in_domain.probability(outside))
    return Confidence(in_domain, correct, abstain_below=low, answer_from=high)


def _thresholds(inside: np.ndarray, outside: np.ndarray) -> tuple[float, float]:
    """Where the two aims cannot both be had, one threshold that misses both by the same share."""
    high = float(np.quantile(inside, 1 - _ANSWERED))
    low = float(np.quantile(outside, _SILENT))
    if low <= high:
        middle = (low + high) / 2
        return middle, (middle + high) / 2
    candidates = np.unique(np.concatenate([inside, outside]))
    missed = [abs((inside < c).mean() - (outside >= c).mean()) for c in candidates]
    same = float(candidates[int(np.argmin(missed))])
    return same, same


def _logistic(features: np.ndarray, labels: np.ndarray) -> Logistic:
    from sklearn.linear_model import LogisticRegression

    if len(set(labels.tolist())) < 2:
        raise UserError(
            "no validation question found its passage, so nothing can be calibrated",
            fix="check that the answers of the validation questions are among the passages",
        )
    mean, scale = features.mean(0), features.std(0) + 1e-6
    fitted = LogisticRegression(max_iter=1000).fit((features - mean) / scale, labels)
    weights = fitted.coef_[0] / scale
    return Logistic(tuple(map(float, weights)), float(fitted.intercept_[0] - weights @ mean))
