"""Pairs of image and text: both experts, every fusion of them, and which one answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regraft.shift.cross_validation import assign_folds
from regraft.transfer.fusion import Embedded, Floats, Fusion, Opinions, fit_fusion
from regraft.transfer.fusion.expert import Expert, fit_expert
from regraft.transfer.fusion.pooled import accuracy, log_loss

IMAGE, TEXT = "image", "text"


@dataclass(frozen=True)
class PairModel:
    """What was fitted on pairs.

    Attributes
    ----------
    classes : names, in the order of the columns.
    image, text : the experts of one modality each.
    fusions : by kind.
    judged : {name: {"accuracy", "log_loss"}} on held-out pairs, experts included.
    chosen : which of them answers where both modalities are there.
    held_out : {name: log-probabilities (n, classes)} of the pairs by a fit without their fold.
    """

    classes: list[str]
    image: Expert
    text: Expert
    fusions: Mapping[str, Fusion]
    judged: Mapping[str, dict[str, float]]
    chosen: str
    held_out: Mapping[str, Floats]

    def probabilities(
        self,
        image: Floats | None,
        text: Floats | None,
        *,
        by: str = "",
    ) -> Floats:
        """Probabilities (n, classes) of embeddings (n, dim); a modality that is missing is None,
        and then the expert of the other one answers. `by` names another answerer than `chosen`.

        Raises ValueError without any modality.
        """
        if image is None and text is None:
            raise ValueError("a pair needs an image or a text")
        name = by or self.chosen
        if text is None or (name == IMAGE and image is not None):
            assert image is not None
            return np.exp(self.image.log_probabilities(image))
        if image is None or name == TEXT:
            return np.exp(self.text.log_probabilities(text))
        opinions = Opinions(self.image.log_probabilities(image), self.text.log_probabilities(text))
        return np.exp(self.fusions[name].log_probabilities(Embedded(image, text), opinions))

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
) -> PairModel:
    """Experts and fusions on pairs with labels; groups (same image) are held out together.

    `fusions` are fields of the classes in `regraft.recipe.fusion`, with their kind. The better
    expert answers alone, unless a fusion is right more often on held-out pairs by more than one
    standard error of the difference over groups ("one modality is enough" is an outcome). Each
    expert tries as many settings as the fusion with the most.
    """
    classes, numbers = np.unique(np.asarray(labels, dtype=str), return_inverse=True)
    numbers = numbers.astype(np.int64)
    parts = assign_folds(np.zeros(len(numbers)), np.asarray(groups), folds=folds, seed=seed)
    image, text = (fit_expert(x, numbers, parts) for x in (pairs.image, pairs.text))
    opinions = Opinions(image.held_out, text.held_out)
    held_out = {IMAGE: image.held_out, TEXT: text.held_out}
    fitted: dict[str, Fusion] = {}
    for options in fusions:
        fitted[options["kind"]], held_out[options["kind"]] = fit_fusion(
            options, pairs, opinions, numbers, parts
        )
    judged = {
        name: {
            "accuracy": accuracy(answers, numbers),
            "log_loss": log_loss(answers, numbers),
        }
        for name, answers in held_out.items()
    }
    chosen = _chosen(held_out, numbers, np.asarray(groups))
    return PairModel(classes.tolist(), image, text, fitted, judged, chosen, held_out)


def _chosen(held_out: dict[str, Floats], labels: NDArray[np.int64], groups: NDArray[Any]) -> str:
    right = {name: (answers.argmax(1) == labels) for name, answers in held_out.items()}
    single = max((IMAGE, TEXT), key=lambda name: right[name].mean())
    best = max(right, key=lambda name: (right[name].mean(), name == single))
    gain = right[best].astype(float) - right[single]
    _, codes = np.unique(groups, return_inverse=True)
    sums = np.bincount(codes, weights=gain - gain.mean())
    error = float(np.sqrt((sums**2).sum())) / len(labels)
    return best if gain.mean() > error else single
