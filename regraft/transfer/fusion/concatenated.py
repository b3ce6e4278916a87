"""Early fusion: one head on both embeddings side by side. The baseline of every table of fusions.

    features = [image, text]

A linear head on them answers with the sum of what each says alone, so nothing that the text makes
of the image is seen (Baltrusaitis et al., TPAMI 41, 2019, section 6).

    Concatenated(expert).log_probabilities(pairs, opinions)  # (n, classes)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regraft.transfer.fusion import Embedded, Floats, Opinions
from regraft.transfer.fusion.expert import Expert, fit_expert


@dataclass(frozen=True)
class Concatenated:
    """A head on both modalities."""

    expert: Expert

    def log_probabilities(self, pairs: Embedded, opinions: Opinions) -> Floats:
        return self.expert.log_probabilities(_side_by_side(pairs))

    def values(self) -> dict[str, Any]:
        return self.expert.values()


def fit(
    pairs: Embedded, opinions: Opinions, labels: NDArray[np.int64], folds: NDArray[np.int64]
) -> tuple[Concatenated, Floats]:
    """As `transfer.fusion.fit_fusion`."""
    expert = fit_expert(_side_by_side(pairs), labels, folds)
    return Concatenated(expert), expert.held_out


def _side_by_side(pairs: Embedded) -> Floats:
    return np.concatenate([pairs.image, pairs.text], 1)
