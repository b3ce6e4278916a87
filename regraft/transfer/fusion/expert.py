"""An expert: a ridge head on embeddings with calibrated answers, also to examples held out.

The strength is that with the most right answers on held-out folds, the temperature that of the
least log loss there. (With hundreds of classes, most of them rare, log loss is ruled by the pairs
that no expert could answer: as the measure of strengths it cost four points on visual questions.) A
class without an example in the other folds gets the score 0, which is what ridge regression gives a
target that is always 0. Where some answers are common and others rare, an expert that first tells
these kinds apart (see `two_stages`) is compared with one that does not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax

from regraft.backbones.heads.linear import LinearHead, fitting_threads, span
from regraft.backbones.heads.ridge import ridge_path
from regraft.shift.cross_validation import fold_numbers
from regraft.transfer.fusion import Floats
from regraft.transfer.fusion.pooled import accuracy, log_loss
from regraft.transfer.fusion.two_stages import TwoStages, common_classes

STRENGTHS = tuple(np.geomspace(0.1, 100, 20))
"""Inverse penalties for embeddings of unit length."""
TEMPERATURES = tuple(np.geomspace(0.02, 2, 24))
_SCALES = (1.0, 2.0, 4.0)
"""How sure the first stage may be; 4 hardly leaves the answer to the other kind."""


@dataclass(frozen=True)
class Expert:
    """A `head` whose scores are divided by `temperature`, in two `stages` where it has them;
    `held_out` (n, classes) are its log-probabilities for the training examples, from heads that had
    not seen their fold."""

    head: LinearHead
    temperature: float
    held_out: Floats
    stages: TwoStages | None = None

    def log_probabilities(self, features: Floats) -> Floats:
        """(n, classes) of features (n, dim)."""
        return _answers(self.head.logits(features) / self.temperature, self.stages)

    def values(self) -> dict[str, Any]:
        """`weight` and `bias` with the temperature in them, and those of the stage."""
        own = self.head.scaled(1 / self.temperature).arrays()
        return own | (self.stages.values() if self.stages else {})


def fit_expert(
    features: Floats,
    labels: NDArray[np.int64],
    folds: NDArray[np.int64],
    *,
    strengths: tuple[float, ...] = STRENGTHS,
) -> Expert:
    """An expert for features (n, dim), class numbers (n,) from 0 without a gap, folds (n,)."""
    with fitting_threads(features):
        mean = features.mean(0)
        coordinates, basis, _ = span(np.asarray(features - mean, dtype=np.float64))
        scores = _held_out_scores(coordinates, labels, folds, strengths)
        best = int(np.argmax([accuracy(score, labels) for score in scores]))
        losses = [log_loss(log_softmax(scores[best] / t, axis=1), labels) for t in TEMPERATURES]
        (inner,) = ridge_path(coordinates, labels, (strengths[best],))
    head = inner.mapped(basis)
    moved = LinearHead(head.weight, head.bias - head.weight @ mean, head.strength)
    temperature = float(TEMPERATURES[int(np.argmin(losses))])
    held_out = scores[best] / temperature
    stages = _stages(held_out, labels)
    return Expert(moved, temperature, _answers(held_out, stages), stages)


def _answers(scores: Floats, stages: TwoStages | None) -> Floats:
    """Log-probabilities (n, classes) of scores over their temperature."""
    return stages.log_probabilities(scores) if stages else np.asarray(log_softmax(scores, axis=1))


def _stages(scores: Floats, labels: NDArray[np.int64]) -> TwoStages | None:
    """The stages with the most right answers, if they are more than without."""
    common = common_classes(labels)
    if not common.any() or (~common).sum() < 2:
        return None
    tried = [None, *(TwoStages(common, scale) for scale in _SCALES)]
    return max(tried, key=lambda stages: accuracy(_answers(scores, stages), labels))


def _held_out_scores(
    x: Floats, labels: NDArray[np.int64], folds: NDArray[np.int64], strengths: tuple[float, ...]
) -> Floats:
    """Scores (strengths, n, classes)."""
    scores = np.zeros((len(strengths), len(x), int(labels.max()) + 1))
    for fold in fold_numbers(folds):
        own = folds == fold
        known, targets = np.unique(labels[~own], return_inverse=True)
        for index, head in enumerate(ridge_path(x[~own], targets, strengths)):
            scores[index][np.ix_(own, known)] = head.logits(x[own])
    return scores
