"""Pairs of image and text: both experts, every fusion of them, and which one answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regraft.errors import UserError
from regraft.shift.cross_validation import assign_folds
from regraft.transfer.fusion import Embedded, Floats, Fusion, Opinions, fit_fusion
from regraft.transfer.fusion.expert import Expert, fit_expert
from regraft.transfer.fusion.pooled import accuracy, answerable, log_loss

IMAGE, TEXT = "image", "text"
_APART = 1000  # between the seeds of draws, so that those of neighbouring runs are not the same


@dataclass(frozen=True)
class PairModel:
    """What was fitted on pairs.

    Attributes
    ----------
    classes : names, in the order of the columns.
    image, text : the experts of one modality each.
    fusions : by kind.
    judged : {name: {"accuracy", "log_loss"}} on held-out pairs, experts included, mean over draws
        of the folds.
    chosen : which of them answers where both modalities are there.
    held_out : {name: log-probabilities (n, classes)} of the pairs by a fit without their fold, of
        the first draw.
    """

    classes: list[str]
    image: Expert
    text: Expert
    fusions: Mapping[str, Fusion]
    judged: Mapping[str, dict[str, float]]
    chosen: str
    held_out: Mapping[str, Floats]

    def probabilities(self, pairs: Embedded, *, by: str = "", missing: str = "") -> Floats:
        """Probabilities (n, classes) of pairs. `by` names another answerer than `chosen`; where
        `missing`, `image` or `text`, is not looked at, the expert of the other one answers."""
        name = {IMAGE: TEXT, TEXT: IMAGE}[missing] if missing else by or self.chosen
        if name == IMAGE:
            return np.exp(self.image.log_probabilities(pairs.image))
        if name == TEXT:
            return np.exp(self.text.log_probabilities(pairs.text))
        opinions = Opinions(
            self.image.log_probabilities(pairs.image), self.text.log_probabilities(pairs.text)
        )
        return np.exp(self.fusions[name].log_probabilities(pairs, opinions))

    def values(self, by: str = "") -> dict[str, Any]:
        """What a `backbones.heads.fusion.FusionHead` is made of, with `chosen` or `by` as joint."""
        name = by or self.chosen
        found: dict[str, Any] = {"kind": name}
        for side, expert in ((IMAGE, self.image), (TEXT, self.text)):
            found |= {f"{side}_{part}": value for part, value in expert.values().items()}
        return found | (self.fusions[name].values() if name in self.fusions else {})


def fit_pairs(
    pairs: Embedded,
    labels: Sequence[str],
    groups: Sequence[str],
    *,
    fusions: Sequence[dict[str, Any]],
    seed: int,
    folds: int = 5,
    draws: int = 3,
) -> PairModel:
    """Experts and fusions on pairs with labels; groups (same image) are held out together.

    `fusions` are fields of the classes in `regraft.recipe.fusion`, with their kind. The better
    expert answers alone, unless a fusion is right more often on held-out pairs by more than one
    standard error of the difference over groups ("one modality is enough" is an outcome). Each
    expert tries as many settings as the fusion with the most. Answerers that are about as good
    change places from one draw of the folds to the next, so they are compared over `draws` of them;
    settings and models are those of the first.

    Raises
    ------
    UserError
        No label is that of two groups, so that none could be answered held out.
    """
    classes, numbers = np.unique(np.asarray(labels, dtype=str), return_inverse=True)
    numbers, images = numbers.astype(np.int64), np.asarray(groups)
    models = []
    for draw in range(draws):
        own = seed + _APART * draw
        parts = assign_folds(np.zeros(len(numbers)), images, folds=folds, seed=own)
        if not answerable(numbers, parts).any():
            raise UserError(
                "nothing tells which modality or fusion answers better",
                got=f"{len(classes)} labels on {len(set(groups))} images, each on one image alone",
                expected="labels that several images have",
            )
        models.append(_fitted(pairs, numbers, parts, fusions))
    first = models[0]
    judged = {
        name: {
            "accuracy": float(np.mean([accuracy(m.held_out[name], numbers) for m in models])),
            "log_loss": float(np.mean([log_loss(m.held_out[name], numbers) for m in models])),
        }
        for name in first.held_out
    }
    right = {
        name: np.mean([m.held_out[name].argmax(1) == numbers for m in models], axis=0)
        for name in first.held_out
    }
    return PairModel(
        classes.tolist(), first.image, first.text, first.fusions, judged,
        _chosen(right, images), first.held_out,
    )  # fmt: skip


@dataclass(frozen=True)
class _Fitted:
    """What one draw of the folds gives; as of `PairModel`."""

    image: Expert
    text: Expert
    fusions: Mapping[str, Fusion]
    held_out: Mapping[str, Floats]


def _fitted(
    pairs: Embedded,
    numbers: NDArray[np.int64],
    parts: NDArray[np.int64],
    fusions: Sequence[dict[str, Any]],
) -> _Fitted:
    image, text = (fit_expert(x, numbers, parts) for x in (pairs.image, pairs.text))
    opinions = Opinions(image.held_out, text.held_out)
    held_out = {IMAGE: image.held_out, TEXT: text.held_out}
    fitted: dict[str, Fusion] = {}
    for options in fusions:
        fitted[options["kind"]], held_out[options["kind"]] = fit_fusion(
            options, pairs, opinions, numbers, parts
        )
    return _Fitted(image, text, fitted, held_out)


def _chosen(right: dict[str, Floats], groups: NDArray[Any]) -> str:
    """By how often each answerer is right (n,) about the held-out pairs."""
    single = max((IMAGE, TEXT), key=lambda name: right[name].mean())
    best = max(right, key=lambda name: (right[name].mean(), name == single))
    gain = right[best] - right[single]
    _, codes = np.unique(groups, return_inverse=True)
    sums = np.bincount(codes, weights=gain - gain.mean())
    error = float(np.sqrt((sums**2).sum())) / len(gain)
    return best if gain.mean() > error else single
