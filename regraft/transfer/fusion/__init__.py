"""Fusion: how what an image says and what a text says become one answer.

Everything works on what frozen encoders say and is fitted in closed form or with a handful of
numbers, because on a few hundred pairs larger fusions lose to the better single modality; the
largest, a bridge of cross-attention, learns only what both experts leave over. Where a modality is
missing the expert of the other one answers, which costs nothing in accuracy against training that
modality alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

KINDS = ("concatenated", "weighted", "learned", "gated", "bilinear", "cross_attention")


@dataclass(frozen=True)
class Embedded:
    """Pairs as embeddings of unit length: image (n, dim), text (n, other dim). Where a fusion reads
    them also local features: `regions` of the image (n, regions, channels) and `words` of the text
    (n, words, hidden), of which those that are not there are zeros."""

    image: Floats
    text: Floats
    regions: NDArray[np.float32] | None = None
    words: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.image)

    def rows(self, chosen: NDArray[Any]) -> Embedded:
        """The pairs at these positions, or where a mask is true."""
        local = (side if side is None else side[chosen] for side in (self.regions, self.words))
        return Embedded(self.image[chosen], self.text[chosen], *local)


@dataclass(frozen=True)
class Opinions:
    """What both experts answer to the same pairs: log-probabilities (n, classes)."""

    image: Floats
    text: Floats

    def rows(self, chosen: NDArray[Any]) -> Opinions:
        """Those on the pairs at these positions, or where a mask is true."""
        return Opinions(self.image[chosen], self.text[chosen])


class Fusion(Protocol):
    """A fitted fusion."""

    def log_probabilities(self, pairs: Embedded, opinions: Opinions) -> Floats:
        """(n, classes), of pairs whose image and text are both there."""

    def values(self) -> dict[str, Any]:
        """The numbers of the formula, as `backbones.heads.fusion` names them."""


def fit_fusion(
    options: dict[str, Any],
    pairs: Embedded,
    opinions: Opinions,
    labels: NDArray[np.int64],
    folds: NDArray[np.int64],
) -> tuple[Fusion, Floats]:
    """The fusion of a kind fitted on all pairs, and its log-probabilities (n, classes) for each of
    them from a fit that had not seen the fold of it.

    Parameters
    ----------
    options : the fields of the kind's class in `regraft.recipe.fusion`.
    opinions : of experts that had not seen the pair (held out); a fusion that trusts what experts
        say of their own training examples trusts the one that overfits more.
    labels, folds : (n,) class numbers and fold numbers; those of one group are equal.
    """
    options = dict(options)
    kind = options.pop("kind")
    if kind not in KINDS:
        raise KeyError(f"no fusion of kind {kind!r}; there are {', '.join(KINDS)}")
    found: tuple[Fusion, Floats] = import_module(f"{__name__}.{kind}").fit(
        pairs, opinions, labels, folds, **options
    )
    return found
