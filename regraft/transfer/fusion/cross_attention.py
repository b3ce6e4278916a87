"""A small cross-attention bridge: words look at regions of the image, regions at words.

The formula and its source are in `backbones.heads.cross_attention`. It is fitted on what experts
said of pairs that they had not seen, so it learns what both leave over, and a modality whose expert
overfits is not trusted more. The epoch at which it ends is that with the most right answers on
held-out pairs; the components of regions and words need no labels and are taken of all pairs.

    CrossAttention(values).log_probabilities(pairs, opinions)  # (n, classes)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from regraft.backbones.heads import cross_attention as bridge
from regraft.backbones.heads.linear import span
from regraft.shift.cross_validation import fold_numbers
from regraft.transfer.fusion import Embedded, Floats, Opinions
from regraft.transfer.fusion.pooled import accuracy, answerable

_LARGEST_BATCH, _STEPS, _SEED = 64, 16, 0
_MOST_PLACES = 5_000  # that components are computed of


@dataclass(frozen=True)
class CrossAttention:
    """`given`: the tensors of `backbones.heads.cross_attention` by name."""

    given: dict[str, torch.Tensor]

    @torch.inference_mode()
    def log_probabilities(self, pairs: Embedded, opinions: Opinions) -> Floats:
        lesson = _lesson(self.given, pairs, opinions)
        return lesson.answers(self.given).double().numpy()

    def values(self) -> dict[str, Any]:
        return {name: value.numpy() for name, value in self.given.items()}


def fit(
    pairs: Embedded,
    opinions: Opinions,
    labels: NDArray[np.int64],
    folds: NDArray[np.int64],
    *,
    rank: int,
    width: int,
    heads: int,
    dropout: float,
    rate: float,
    weight_decay: float,
    epochs: int,
) -> tuple[CrossAttention, Floats]:
    """As `transfer.fusion.fit_fusion`, on the pairs that `answerable` names.

    Raises ValueError for pairs without local features.
    """
    known = answerable(labels, folds)
    sides = _sides(pairs).values()
    n_places = torch.tensor([float(parts.shape[1]) for _, parts in sides])
    base = _components(pairs, rank) | {"heads": torch.tensor(float(heads)), "places": n_places}
    lesson, truth = _lesson(base, pairs, opinions), torch.from_numpy(labels)
    shape, how = (width, rank), {"rate": rate, "weight_decay": weight_decay, "dropout": dropout}
    held_out = np.zeros((epochs, *opinions.text.shape))
    for fold in fold_numbers(folds):
        own, others = folds == fold, (folds != fold) & known
        after = _epochs(base, lesson.rows(others), truth[others], shape, **how)
        for number, given in zip(range(epochs), after, strict=False):
            held_out[number, own] = lesson.rows(own).answers(given).double().numpy()
    best = int(np.argmax([accuracy(one, labels) for one in held_out]))
    after = _epochs(base, lesson.rows(known), truth[known], shape, **how)
    return CrossAttention(next(islice(after, best, None))), held_out[best]


@dataclass(frozen=True)
class _Lesson:
    """Components (n, places, rank) of pairs, and what experts say of them, (n, classes)."""

    regions: torch.Tensor
    words: torch.Tensor
    of_image: torch.Tensor
    of_text: torch.Tensor

    def rows(self, chosen: Any) -> _Lesson:
        own = (self.regions, self.words, self.of_image, self.of_text)
        return _Lesson(*(part[chosen] for part in own))

    @torch.inference_mode()
    def answers(self, given: bridge.Tensors) -> torch.Tensor:
        """Log-probabilities (n, classes)."""
        found = bridge.attended(given, self.regions, self.words)
        return bridge.answers(given, found, self.of_image, self.of_text)


def _lesson(given: bridge.Tensors, pairs: Embedded, opinions: Opinions) -> _Lesson:
    regions, words = (
        bridge.tokens(given, side, torch.from_numpy(whole).float(), torch.from_numpy(parts).float())
        for side, (whole, parts) in _sides(pairs).items()
    )
    experts = (torch.from_numpy(x).float() for x in (opinions.image, opinions.text))
    return _Lesson(regions, words, *experts)


def _sides(pairs: Embedded) -> dict[str, tuple[Floats, NDArray[np.float32]]]:
    """Embeddings and local features of either modality."""
    if pairs.regions is None or pairs.words is None:
        raise ValueError("a cross-attention fusion needs regions and words")
    return {"image": (pairs.image, pairs.regions), "text": (pairs.text, pairs.words)}


def _components(pairs: Embedded, rank: int) -> dict[str, torch.Tensor]:
    """Means (dim,) and leading directions (rank, dim) of embeddings and local features."""
    found: dict[str, torch.Tensor] = {}
    for side, (whole, parts) in _sides(pairs).items():
        places = parts.reshape(-1, parts.shape[-1])
        for name, x in ((side, whole), (f"{side}_part", places[np.abs(places).max(1) > 0])):
            rows = x[:: -(-len(x) // _MOST_PLACES)].astype(np.float64)
            mean = rows.mean(0)
            _, basis, variances = span(rows - mean)
            leading = np.zeros((rank, len(mean)))  # fewer directions than asked for: zeros
            chosen = basis[np.argsort(-variances)[:rank]]
            leading[: len(chosen)] = chosen
            found |= {
                f"{name}_mean": torch.from_numpy(mean).float(),
                f"{name}_basis": torch.from_numpy(leading).float(),
            }
    return found


def _epochs(
    base: dict[str, torch.Tensor],
    lesson: _Lesson,
    truth: torch.Tensor,
    shape: tuple[int, int],
    *,
    rate: float,
    weight_decay: float,
    dropout: float,
) -> Iterator[dict[str, torch.Tensor]]:
    """What is learned after each epoch, without an end; `shape` is that of the projections, (width,
    rank)."""
    random = torch.Generator().manual_seed(_SEED)
    learned = {
        name: nn.Parameter(torch.randn(shape, generator=random) / shape[1] ** 0.5)
        for name in bridge.ATTENTION
    }
    learned["bridge"] = nn.Parameter(torch.zeros(lesson.of_text.shape[1], 3 * shape[0]))
    learned["numbers"] = nn.Parameter(torch.full((2,), 0.5))
    optimiser = torch.optim.AdamW(learned.values(), lr=rate, weight_decay=weight_decay)
    given = base | learned
    batch = min(_LARGEST_BATCH, -(-len(truth) // _STEPS))
    while True:
        for rows in torch.randperm(len(truth), generator=random).split(batch):
            own = lesson.rows(rows)
            found = bridge.attended(given, own.regions, own.words)
            kept = torch.rand(found.shape, generator=random) >= dropout
            scores = bridge.answers(given, found * kept / (1 - dropout), own.of_image, own.of_text)
            optimiser.zero_grad()
            nn.functional.nll_loss(scores, truth[rows]).backward()
            optimiser.step()
        yield base | {name: value.detach().clone() for name, value in learned.items()}
