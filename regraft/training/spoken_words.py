"""A recogniser of few spoken words: closed-form head on frozen features, made for new speakers.

Three things carry a handful of examples to people who were never heard. The words are also spoken
by a synthesiser in many voices (Lin et al., "Training Keyword Spotters with Limited and Synthesized
Speech Data", ICASSP 2020). Every speaker's features are centred on that speaker's own mean, which
needs recordings but no labels (cepstral mean normalisation, Atal, JASA 55, 1974, on learned
features). And the penalty of the ridge is the one that does best on training speakers left out.

>>> rng = np.random.default_rng(0)
>>> words, speakers = np.tile([0, 1], 20), np.repeat(["a", "b"], 20)
>>> features = np.eye(2)[words] + 0.1 * rng.normal(size=(40, 2))
>>> head = fit_word_head(WordExamples(features, words, speakers))
>>> head.answer(np.eye(2)).argmax(1).tolist()
[0, 1]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.linalg

from regraft.backbones.heads.linear import Array, LinearHead, fitting_threads, unit_rows
from regraft.backbones.heads.ridge import ridge_head
from regraft.errors import UserError

STRENGTHS = (0.05, 0.3, 2.0, 10.0)

_LEAST_DEVIATION = 1e-3


@dataclass(frozen=True)
class WordExamples:
    """`features` (n, dim), the number of the word (n,) and who said it (n,)."""

    features: Array
    words: Array
    speakers: Array


@dataclass(frozen=True)
class WordHead:
    """A linear head, and how features are scaled for it."""

    head: LinearHead
    mean: Array
    deviation: Array

    def answer(self, features: Array, speakers: Array | None = None) -> Array:
        """Scores (n, words). With `speakers` (n,), every speaker's features are centred on their
        own mean: for a head that was fitted with `centre`."""
        if speakers is not None:
            features = centred(features, speakers)
        return self.head.logits(unit_rows((features - self.mean) / self.deviation))


def fit_word_head(
    real: WordExamples,
    synthesised: WordExamples | None = None,
    *,
    centre: bool = False,
    strengths: Sequence[float] = STRENGTHS,
) -> WordHead:
    """The head with the strength that names most words of training speakers left out, one speaker
    at a time; synthesised voices are in every fit and never tested on. Ties go to the stronger
    penalty; with one real speaker nobody can be left out, and the middle strength is taken.

    Raises UserError where a word has no example.
    """
    if synthesised is not None and synthesised.features.shape[1] != real.features.shape[1]:
        raise UserError(
            "real and synthesised words come from different encoders",
            got=f"{real.features.shape[1]} and {synthesised.features.shape[1]} features",
        )
    parts = [real] if synthesised is None else [real, synthesised]
    features = np.concatenate([_centred_if(part, centre) for part in parts])
    words = np.concatenate([part.words for part in parts])
    mean, deviation = features.mean(0), features.std(0) + _LEAST_DEVIATION
    scaled = unit_rows((features - mean) / deviation)
    with fitting_threads(scaled):
        strength = _chosen(scaled, words, real.speakers, sorted(strengths))
        return WordHead(ridge_head(scaled, words, strength=strength), mean, deviation)


def _chosen(features: Array, words: Array, speakers: Array, strengths: Sequence[float]) -> float:
    """The best strength on speakers left out; `speakers` are those of the first rows, the others
    are always learned from. Solved in the dual form, (K + I / strength) a = onehot, because only
    the order of the scores is needed."""
    kernel, targets = _centred_kernel(features), np.eye(words.max() + 1)[words]
    targets -= targets.mean(0)
    right = np.zeros(len(strengths))
    for speaker in np.unique(speakers):
        out = np.flatnonzero(speakers == speaker)
        kept = np.setdiff1d(np.arange(len(words)), out)
        if len(np.unique(words[kept])) <= words.max():
            continue  # nobody else said some word
        for i, strength in enumerate(strengths):
            penalised = kernel[np.ix_(kept, kept)] + np.eye(len(kept)) / strength
            weights = scipy.linalg.solve(penalised, targets[kept], assume_a="pos")
            answers = (kernel[np.ix_(out, kept)] @ weights).argmax(1)
            right[i] += (answers == words[out]).sum()
    return strengths[int(right.argmax())] if right.any() else strengths[len(strengths) // 2]


def _centred_kernel(features: Array) -> Array:
    moved = features - features.mean(0)
    return np.asarray(moved @ moved.T)


def centred(features: Array, speakers: Array) -> Array:
    """Every speaker's features (n, dim) minus their mean."""
    found = np.array(features, dtype=np.float64)
    for speaker in np.unique(speakers):
        rows = speakers == speaker
        found[rows] -= found[rows].mean(0)
    return found


def _centred_if(examples: WordExamples, centre: bool) -> Array:
    return centred(examples.features, examples.speakers) if centre else examples.features
