"""How sure the assistant may be: three logistic regressions on what retrieval found.

One tells questions of the domain from others and decides between answer, question back and silence.
One tells whether the best passage is about the topic that was asked for, and has a say in it: the
answer about another disease is worse than none. It learns from validation questions whose topic is
taken away. The third is the probability that the best passage is the right one, which is reported.
All are fitted on validation questions, the other domains' being those of
`data.examples.general_questions` (Platt, "Probabilistic Outputs for Support Vector Machines", 1999;
selective answering: El-Yaniv and Wiener, JMLR 11, 2010).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from regraft.errors import UserError
from regraft.tasks.assistant.dialogue import Topics
from regraft.tasks.assistant.knowledge import Hit, Passage
from regraft.tasks.assistant.wording import content_words, stem

ANSWER, ASK_BACK, ABSTAIN = "answer", "ask_back", "abstain"
FEATURES = ("best_score", "margin", "mean_score", "covered", "known", "named", "literal")
_ANSWERED, _SILENT = 0.97, 0.94  # aims on validation, above what is asked for (0.9) on others
_ON_TOPIC = 0.95  # answered after both decisions
_ABOUT_TOPIC = np.array([name in {"covered", "known", "named", "literal"} for name in FEATURES])
"""What the decision about the topic reads. Scores are high for good answers about it, and for good
answers about its neighbour."""
_FEWEST = 20


class Evidence:
    """The features of a question and its hits, given all passages."""

    def __init__(self, passages: Sequence[Passage]) -> None:
        self._passages = passages
        self._stems = [_stems(f"{passage.topic} {passage.text}") for passage in passages]
        self._only: dict[str, str | None] = {}
        for passage, own in zip(passages, self._stems, strict=True):
            for word in own:
                topic = passage.topic.casefold()
                known = self._only.setdefault(word, topic)
                self._only[word] = topic if known == topic else None
        count = Counter(word for own in self._stems for word in own)
        self._rarity = {word: math.log1p(len(passages) / n) for word, n in count.items()}
        self._topics = Topics(passage.topic for passage in passages)
        self._rarest = math.log1p(2 * len(passages))

    def features(
        self, question: str, hits: Sequence[Hit], *, gone: Collection[str] = ()
    ) -> np.ndarray:
        """The values of `FEATURES`, (7,): the best score; how far it is above the best of another
        topic; the mean of all hits; which share of the question, by the rarity of its words, the
        best passage holds, and which the passages know at all; how far the question names the topic
        of the best passage, and whether it does so word for word. Topics in `gone` (casefolded) are
        not known, nor are words that only passages about them have.
        """
        asked = _stems(question)
        known = {word for word in asked if word in self._rarity and self._only[word] not in gone}
        weights = {word: self._rarity[word] if word in known else self._rarest for word in asked}
        total = sum(weights.values()) or 1.0
        best = hits[0]
        topic = self._passages[best.passage].topic
        literal = self._topics.named(question, without=gone)
        others = [hit.score for hit in hits if self._passages[hit.passage].topic != topic]
        return np.array(
            [
                best.score,
                best.score - max(others, default=hits[-1].score),
                float(np.mean([hit.score for hit in hits])),
                sum(weights[word] for word in asked & self._stems[best.passage]) / total,
                sum(weights[word] for word in known) / total,
                best.named,
                float(literal != "" and literal.casefold() == topic.casefold()),
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
    """The regressions, the two thresholds on `in_domain` and the one on `on_topic`."""

    in_domain: Logistic
    on_topic: Logistic
    correct: Logistic
    abstain_below: float
    answer_from: float
    on_topic_from: float

    def decide(self, features: np.ndarray) -> list[str]:
        """ANSWER, ASK_BACK or ABSTAIN for each row of features (n, features): what seems to be of
        the domain and about another topic than its best passage is asked back."""
        domain, topic = self.in_domain.probability(features), self.on_topic.probability(features)
        return [
            ABSTAIN
            if p < self.abstain_below
            else ANSWER
            if p >= self.answer_from and about >= self.on_topic_from
            else ASK_BACK
            for p, about in zip(domain, topic, strict=True)
        ]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @staticmethod
    def from_json(values: dict[str, Any]) -> Confidence:
        """What `to_json` gave."""
        models = {
            name: Logistic(tuple(values[name]["weights"]), values[name]["bias"])
            for name in ("in_domain", "on_topic", "correct")
        }
        return Confidence(**{**values, **models})


@dataclass(frozen=True)
class Sample:
    """What the search found for validation questions of the domain.

    Attributes
    ----------
    features : (n, features).
    right, on_topic : whether the best passage was the right one, and whether it was about the right
        topic, (n,).
    as_asked : questions as they were asked, (n,): the regressions learn from the others too, which
        were made from them, and the thresholds are set on these.
    without_topic : features (k, features) of such questions with all passages about their topics
        taken away; none where passages have no topic.
    """

    features: np.ndarray
    right: np.ndarray
    on_topic: np.ndarray
    as_asked: np.ndarray
    without_topic: np.ndarray


def fit_confidence(
    inside: Sample, outside: np.ndarray, reworded: np.ndarray | None = None
) -> Confidence:
    """Fit on validation questions of the domain, and on features (m, features) of other questions.
    The regressions learn from the `reworded` others too; thresholds are set without them.

    Between the thresholds on `in_domain` the assistant asks back. They are set so that 97 % of
    `inside` are answered and 94 % of `outside` are not even asked back, where both can be had. The
    one on `on_topic` leaves 95 % answered; it is lower where that already holds back 94 % of the
    answers about another topic.

    Raises `UserError` for fewer than 20 questions of a kind, or features that are not finite.
    """
    for name, given in (("in-domain", inside.features), ("out-of-domain", outside)):
        if len(given) < _FEWEST or not np.isfinite(given).all():
            raise UserError(
                f"the {name} questions cannot calibrate the assistant",
                got=f"{len(given)} questions" if len(given) < _FEWEST else "scores not finite",
                expected=f"at least {_FEWEST} validation questions with finite scores",
                fix="give the validation split more topics",
            )
    features, away = inside.features, inside.without_topic
    others = outside if reworded is None else np.concatenate([outside, reworded])
    in_domain = _against(features, np.ones(len(features), int), others)
    clean = features[inside.as_asked]
    low, high = _thresholds(in_domain.probability(clean), in_domain.probability(outside))
    correct = _against(features, inside.right.astype(int), np.concatenate([others, away]))
    on_topic, enough = Logistic((0.0,) * features.shape[1], 0.0), 0.0  # says nothing
    if len(away) >= _FEWEST:
        about = features * _ABOUT_TOPIC
        on_topic = _against(about, inside.on_topic.astype(int), away * _ABOUT_TOPIC)
        answered = in_domain.probability(clean) >= high
        most = float(np.quantile(answered * on_topic.probability(clean), 1 - _ON_TOPIC))
        least = float(np.quantile(on_topic.probability(away), _SILENT))
        enough = min(most, (least + most) / 2)
    return Confidence(
        in_domain,
        on_topic,
        correct,
        abstain_below=low,
        answer_from=high,
        on_topic_from=enough,
    )


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


def _against(inside: np.ndarray, labels: np.ndarray, others: np.ndarray) -> Logistic:
    """Questions of the domain by their labels (n,), beside others of label 0."""
    return _logistic(
        np.concatenate([inside, others]), np.concatenate([labels, np.zeros(len(others), int)])
    )


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
