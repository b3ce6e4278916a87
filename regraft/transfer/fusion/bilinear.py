"""Low-rank bilinear fusion: what the image means depends on what is asked.

    features = [text, s * (leading components of the text x those of the image)]

and a ridge head on them, so that the weight of an image component is a linear function of the text
(bilinear models: Tenenbaum and Freeman, Neural Computation 12, 2000; of low rank for visual
questions: Kim et al., ICLR 2017). The projections are singular vectors, not learned: there are
fewer pairs than a learned projection has numbers. Images are centred, texts are not: their first
component is what all texts share, and its products carry what the image says by itself. `s` is the
share with the most right answers on held-out pairs.

    Bilinear(...).features(pairs)  # (n, text_dim + text_rank * image_rank)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regraft.backbones.heads.linear import span, unit_rows
from regraft.transfer.fusion import Embedded, Floats, Opinions
from regraft.transfer.fusion.expert import STRENGTHS, Expert, fit_expert
from regraft.transfer.fusion.pooled import accuracy

_STRENGTHS = STRENGTHS[::4]  # times four shares: as many trials as each single modality has


@dataclass(frozen=True)
class Components:
    """Leading components, scaled to unit length: `mean` (dim,), `basis` (rank, dim)."""

    mean: Floats
    basis: Floats

    def of(self, features: Floats) -> Floats:
        """(n, rank) of features (n, dim)."""
        return unit_rows((features - self.mean) @ self.basis.T)


@dataclass(frozen=True)
class Bilinear:
    """A head on both modalities and their products."""

    image: Components
    text: Components
    share: float
    expert: Expert

    def features(self, pairs: Embedded) -> Floats:
        """(n, dim) from embeddings."""
        return joint_features(pairs, self.image, self.text, self.share)

    def log_probabilities(self, pairs: Embedded, opinions: Opinions) -> Floats:
        return self.expert.log_probabilities(self.features(pairs))

    def values(self) -> dict[str, Any]:
        sides = {"image": self.image, "text": self.text}
        found: dict[str, Any] = {f"{name}_mean": side.mean for name, side in sides.items()}
        found |= {f"{name}_basis": side.basis for name, side in sides.items()}
        return found | self.expert.values() | {"share": self.share}


def joint_features(pairs: Embedded, image: Components, text: Components, share: float) -> Floats:
    """Text and `share` times the products, (n, text dim + products)."""
    products = text.of(pairs.text)[:, :, None] * image.of(pairs.image)[:, None, :]
    return np.concatenate([pairs.text, share * products.reshape(len(pairs), -1)], 1)


def fit(
    pairs: Embedded,
    opinions: Opinions,
    labels: NDArray[np.int64],
    folds: NDArray[np.int64],
    *,
    image_rank: int,
    text_rank: int,
    shares: list[float],
) -> tuple[Bilinear, Floats]:
    """As `transfer.fusion.fit_fusion`. The components need no labels and are taken of all pairs."""
    image = _components(pairs.image, pairs.image.mean(0), image_rank)
    text = _components(pairs.text, np.zeros(pairs.text.shape[1]), text_rank)
    tried = []
    for share in shares:
        features = joint_features(pairs, image, text, share)
        expert = fit_expert(features, labels, folds, strengths=_STRENGTHS)
        tried.append((accuracy(expert.held_out, labels), Bilinear(image, text, share, expert)))
    best = max(tried, key=lambda one: one[0])[1]
    return best, best.expert.held_out


def _components(features: Floats, mean: Floats, rank: int) -> Components:
    _, basis, variances = span(np.asarray(np.unique(features, axis=0) - mean, dtype=np.float64))
    return Components(mean, basis[np.argsort(-variances)[:rank]])
