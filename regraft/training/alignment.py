"""One space for images and texts: retrieval both ways from the embeddings of locked encoders.

Regularised canonical correlation analysis (Hotelling, Biometrika 28, 1936; for retrieval between
images and texts Gong et al., IJCV 106, 2014, with components weighted by their correlation). With
a few hundred pairs a projection in closed form has nothing to overfit with but its penalty, which
is chosen on held-out pairs.

    alignment = align(Embedded(image, text), groups, seed=0)
    alignment.images(image) @ alignment.texts(text).T       # (n, n)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from regraft.backbones.heads.linear import span, unit_rows
from regraft.data.files import write_arrays
from regraft.errors import UserError
from regraft.shift.cross_validation import assign_folds, fold_numbers
from regraft.transfer.fusion import Embedded, Floats

PENALTIES = (0.03, 0.1, 0.3, 1.0, 3.0)
"""Relative to the mean variance of a component."""
FEWEST_GROUPS = 10


@dataclass(frozen=True)
class Alignment:
    """Means (dim,) and projections (rank, dim) of both modalities."""

    image_mean: Floats
    image_projection: Floats
    text_mean: Floats
    text_projection: Floats

    def images(self, features: Floats) -> Floats:
        """(n, rank), of unit length; their products with those of texts are cosines."""
        return unit_rows((features - self.image_mean) @ self.image_projection.T)

    def texts(self, features: Floats) -> Floats:
        """(n, rank), of unit length."""
        return unit_rows((features - self.text_mean) @ self.text_projection.T)


@dataclass(frozen=True)
class Index:
    """Images that can be found by a text, and texts by an image; a file on disk.

    `ids` (n,) name them, `vectors` (n, rank) are those of `Alignment`.
    """

    ids: list[str]
    vectors: Floats

    def search(self, queries: Floats, k: int = 5) -> list[list[tuple[str, float]]]:
        """The k nearest of every query (m, rank) with their cosines, the nearest first."""
        cosines = queries @ self.vectors.T
        order = np.argsort(-cosines, axis=1, kind="stable")[:, :k]
        return [
            [(self.ids[i], float(row[i])) for i in nearest]
            for row, nearest in zip(cosines, order, strict=True)
        ]

    def save(self, path: Path) -> None:
        """Write an .npz file; readers see the old one or the whole new one."""
        write_arrays(path, ids=np.array(self.ids), vectors=self.vectors)

    @staticmethod
    def load(path: Path) -> Index:
        """What `save` wrote."""
        with np.load(path, allow_pickle=False) as arrays:
            return Index(arrays["ids"].tolist(), arrays["vectors"])


def align(pairs: Embedded, groups: Sequence[str], *, rank: int = 64, seed: int = 0) -> Alignment:
    """Projections that bring the two sides of a pair together and different pairs apart.

    The penalty is that with which held-out pairs are found best (mean reciprocal rank, both ways);
    groups are held out together.

    Raises UserError for fewer than ten groups.
    """
    codes = np.asarray(groups)
    if len(np.unique(codes)) < FEWEST_GROUPS:
        raise UserError(
            "too few pairs to align two encoders",
            got=f"{len(np.unique(codes))} images",
            expected=f"at least {FEWEST_GROUPS}",
        )
    folds = assign_folds(np.zeros(len(codes)), codes, seed=seed)
    found = [
        np.mean([_found(pairs, folds == fold, rank, penalty) for fold in fold_numbers(folds)])
        for penalty in PENALTIES
    ]
    return _projections(pairs, rank, PENALTIES[int(np.argmax(found))])


def recall_at(
    alignment: Alignment, pairs: Embedded, groups: Sequence[str], k: int = 5
) -> tuple[float, float]:
    """How often the image of a text is among the first `k` of all images, and one of the texts of
    an image among the first `k` of all texts. Pairs of one group have the same image."""
    _, first, codes = np.unique(np.asarray(groups), return_index=True, return_inverse=True)
    cosines = alignment.texts(pairs.text) @ alignment.images(pairs.image[first]).T
    images, texts = (np.argsort(-c, axis=1, kind="stable")[:, :k] for c in (cosines, cosines.T))
    of_texts = (images == codes[:, None]).any(1)
    of_images = (codes[texts] == np.arange(len(first))[:, None]).any(1)
    return float(of_texts.mean()), float(of_images.mean())


def _found(pairs: Embedded, out: np.ndarray, rank: int, penalty: float) -> float:
    alignment = _projections(pairs.rows(~out), rank, penalty)
    own = pairs.rows(out)
    cosines = alignment.images(own.image) @ alignment.texts(own.text).T
    ranks = [(row >= row[i]).sum() for side in (cosines, cosines.T) for i, row in enumerate(side)]
    return float((1 / np.array(ranks)).mean())


def _projections(pairs: Embedded, rank: int, penalty: float) -> Alignment:
    means, whitened, bases = [], [], []
    for features in (pairs.image, pairs.text):
        mean = features.mean(0)
        coordinates, basis, variances = span(np.asarray(features - mean, dtype=np.float64))
        scale = 1 / np.sqrt(variances + penalty * variances.mean())
        means.append(mean)
        whitened.append(coordinates * scale)
        bases.append(basis * scale[:, None])
    left, correlations, right = np.linalg.svd(whitened[0].T @ whitened[1], full_matrices=False)
    kept = min(rank, len(correlations))
    weights = correlations[:kept, None]
    return Alignment(
        means[0],
        weights * (left[:, :kept].T @ bases[0]),
        means[1],
        weights * (right[:kept] @ bases[1]),
    )
