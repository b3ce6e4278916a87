"""Which kind of answer is asked for, before which answer: one of the few common ones or of the many
rare ones.

    log p(a) = log p(kind of a) + log p(a) / p(answers of that kind)
    p(kind) = softmax(scale * sum of the scores of its answers)

With hundreds of rare answers each gets little of the score, and a common one, `no`, wins where the
question asks where or which. Whether an answer is common is easily told (a hierarchy of two levels:
Goodman, "Classes for fast maximum entropy training", ICASSP 2001). Of a ridge head the sum of the
scores is the score that a head fitted on the kinds would give.

    TwoStages(common, scale).log_probabilities(scores)  # (n, classes)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax, logsumexp

from regraft.transfer.fusion import Floats

COMMON_FROM = 0.1
"""An answer is common if it is that of such a share of the examples."""


@dataclass(frozen=True)
class TwoStages:
    """`common` (classes,) says which answers are, `scale` how sure the sums of scores are."""

    common: NDArray[np.bool_]
    scale: float

    def log_probabilities(self, scores: Floats) -> Floats:
        """(n, classes) of scores (n, classes), those of a head over its temperature."""
        sides = (~self.common, self.common)
        sums = np.stack([scores[:, own].sum(1) for own in sides], 1)
        kinds = log_softmax(self.scale * sums, axis=1)
        found = np.empty_like(scores)
        for own, kind in zip(sides, kinds.T, strict=True):
            within = scores[:, own]
            found[:, own] = within + (kind - logsumexp(within, axis=1))[:, None]
        return found

    def values(self) -> dict[str, Any]:
        """As `backbones.heads.fusion` names them."""
        return {"stage_common": self.common, "stage_scale": np.asarray(self.scale)}


def common_classes(labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which classes (classes,) are common among the labels (n,)."""
    return np.asarray(np.bincount(labels) >= COMMON_FROM * len(labels))
