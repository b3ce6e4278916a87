"""Adapt retrieval to a domain: adapter, intents and fusion, all on embeddings of a frozen encoder.

The weights of the fusion are learned on questions whose topics the adapter and the heads have not
seen (cross-fitting; Wolpert, "Stacked Generalization", 1992), because on their own examples both
look better than they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.special import log_softmax, softmax

from regraft.backbones.heads.logistic import logistic_probe
from regraft.shift.cross_validation import assign_folds, fold_numbers
from regraft.tasks.bm25 import Bm25
from regraft.tasks.matching import Familiar, Matcher, Weights
from regraft.training.contrastive import Contrast, fit_adapter

_FOLDS = 4
_PRIOR = 1e-3
_SOFTNESS = 0.5
"""Factor of the logits of a question's intents once the fusion is fitted. Training questions are
worded alike and others are not, so the head is surer than it should be. Half cost 0.7 points of
recall@1 on the validation topics of one seed, a quarter 1.3: the softest below one point."""

_UNLIKE = 0.05


@dataclass(frozen=True)
class Pairs:
    """Questions and the passages that answer them.

    Attributes
    ----------
    questions, texts : the words of questions (n,) and passages (m,).
    asked, answering : their embeddings by the frozen encoder, (n, dim) and (m, dim), unit length.
    right : number of the passage of each question, (n,).
    intents : class number of what each question asks, (n,).
    topics : questions of one topic are never on both sides, (n,).
    named : how far each question names the topic of each passage (`tasks.topic_names`), (n, m);
        None where passages have no topic.
    """

    questions: Sequence[str]
    texts: Sequence[str]
    asked: np.ndarray
    answering: np.ndarray
    right: np.ndarray
    intents: np.ndarray
    topics: Sequence[Any]
    named: np.ndarray | None = None

    def of(self, chosen: np.ndarray) -> Pairs:
        """Those of some questions, with the passages that answer them alone."""
        used, right = np.unique(self.right[chosen], return_inverse=True)
        return Pairs(
            [self.questions[i] for i in chosen],
            [self.texts[i] for i in used],
            self.asked[chosen],
            self.answering[used],
            right,
            self.intents[chosen],
            [self.topics[i] for i in chosen],
            None if self.named is None else self.named[np.ix_(chosen, used)],
        )


def fit_matcher(pairs: Pairs, how: Contrast | None = None, *, seed: int = 0) -> Matcher:
    """The matcher of a domain, from its training questions."""
    whole = fit_parts(pairs, how, seed=seed)
    folds = assign_folds(pairs.intents, np.asarray(pairs.topics), folds=_FOLDS, seed=seed)
    held = []
    for fold in fold_numbers(folds):
        parts = fit_parts(pairs.of(np.flatnonzero(folds != fold)), how, seed=seed)
        own = pairs.of(np.flatnonzero(folds == fold))
        held.append((terms_of(parts, own), own.right))
    assert whole.intents is not None
    asked, answered = whole.intents
    return replace(
        whole,
        weights=fit_weights(held),
        intents=(asked.scaled(_SOFTNESS), answered),
        familiar=familiar_of(pairs),
    )


def familiar_of(pairs: Pairs) -> Familiar:
    """The questions, and how near 95 % of them are to one about another topic."""
    topics = np.unique(np.asarray(pairs.topics, dtype=str), return_inverse=True)[1]
    cosines = np.where(topics[:, None] == topics, -1.0, pairs.asked @ pairs.asked.T)
    return Familiar(pairs.asked, float(np.quantile(cosines.max(axis=1), _UNLIKE)))


def fit_parts(pairs: Pairs, how: Contrast | None = None, *, seed: int = 0) -> Matcher:
    """Adapter and heads; the weights are still those of plain fusion."""
    passage_intents = np.zeros(len(pairs.texts), dtype=np.int64)
    passage_intents[pairs.right] = pairs.intents
    return Matcher(
        adapter=fit_adapter(pairs.asked, pairs.answering, pairs.right, how, seed=seed),
        intents=(
            logistic_probe(pairs.asked, pairs.intents, strength=30.0, folds=1),
            logistic_probe(pairs.answering, passage_intents, strength=100.0, folds=1),
        ),
    )


def terms_of(matcher: Matcher, pairs: Pairs) -> np.ndarray:
    """The terms of every question and passage, (n, m, 4)."""
    lexical = Bm25.of(pairs.texts).scores(pairs.questions)
    return matcher.terms(pairs.asked, pairs.answering, lexical, pairs.named)


def fit_weights(folds: Sequence[tuple[np.ndarray, np.ndarray]]) -> Weights:
    """The weights under which softmax over the passages finds the right one with the highest
    likelihood (conditional logit), from (terms (n, m, 4), right (n,)) of each fold.

    None is negative. They are scaled so that all but the intent's add up to 1: then the score has
    the same meaning before and after.
    """
    from scipy.optimize import minimize

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = _PRIOR * float(np.square(weights).sum()), 2 * _PRIOR * weights
        for terms, right in folds:
            scores, rows = terms @ weights, np.arange(len(right))
            value -= float(log_softmax(scores, axis=1)[rows, right].sum())
            expected = np.einsum("nm,nmk->nk", softmax(scores, axis=1), terms)
            gradient = gradient + (expected - terms[rows, right]).sum(0)
        return value, gradient

    found = minimize(
        loss, np.array([20.0, 10.0, 1.0, 0.0]), jac=True, method="L-BFGS-B", bounds=[(0, None)] * 4
    )
    return Weights(*map(float, found.x / max(found.x[[0, 1, 3]].sum(), 1e-9)))
