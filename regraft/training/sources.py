"""What the stages of a run read: which examples, at which size, through how much of the network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from regraft.backbones.blockwise import BlockwiseEncoder
from regraft.errors import UserError
from regraft.training.inputs import ImageInputs, Inputs, Views
from regraft.training.trunk_store import TrunkStore
from regraft.transfer.stage import Stage
from regraft.transfer.step import Partners


@dataclass(frozen=True)
class Data:
    """The examples of a run.

    Attributes
    ----------
    train : labelled examples.
    validation : labelled examples that choose the epoch; without them the last one is kept.
    unlabelled : examples of the target domain, for objectives that read them.
    target : examples of the same domain as `unlabelled`, whose answers choose the epoch.
    old : examples of earlier runs, for what must not be forgotten, with `old_labels` (n,).
    partners : finds what examples of each class are in another modality, for objectives that read
        it.
    difficulty : (n,) of the training examples, for a curriculum.
    n_views : views per example that take turns where nothing is cached; 0 is a new one each epoch.
    cached_views : views per example that a cached trunk holds.
    served_views : views per example of `validation` and `target`: the answers to all of them are
        averaged, as a served model does.
    """

    train: Views
    validation: Views | None = None
    unlabelled: Views | None = None
    target: Views | None = None
    old: Views | None = None
    old_labels: np.ndarray | None = None
    partners: Callable[[], Partners] | None = None
    difficulty: np.ndarray | None = None
    n_views: int = 0
    cached_views: int = 4
    served_views: int = 1


@dataclass(frozen=True)
class Sources:
    """`Data` as one stage reads it.

    Validation and target are always at the backbone's own size, the one that is served; old
    examples are shown in view 0, the one whose answers are remembered.
    """

    train: Inputs
    validation: Inputs | None
    unlabelled: Inputs | None
    target: Inputs | None
    old: Inputs | None


def cuts(encoder: BlockwiseEncoder, stages: Sequence[Stage], *, alike: bool) -> list[int | None]:
    """Behind which block each stage may be cached; len(blocks) is the embedding, None not at all.

    A stage of the head alone reads embeddings. The others share one cut, where the earliest of
    them begins to train: computing a second one costs more than it saves in a few epochs. With
    `alike` all stages read the same thing, because terms of the loss remember its shape.

    The cut of a stage whose trunk an earlier stage has changed is computed with the changed
    weights, when that stage begins.
    """
    n = len(encoder.blocks)
    own = [n if not s.trainable else encoder.trunk_end(set(s.trainable)) for s in stages]
    if alike and None in own:
        return [None for _ in stages]
    known = [end for end in own if end is not None]
    shared = known if alike else [end for end in known if end < n]
    first = min(shared, default=n)
    return [end if end is None or (end == n and not alike) else first for end in own]


def stage_sources(
    model: Any, stage: Stage, end: int | None, data: Data, trunks: TrunkStore | None
) -> Sources:
    """The inputs of one stage, computed with the model's present weights.

    Raises
    ------
    UserError
        The backbone cannot read the stage's image size.
    """
    encoder = model.encoder
    _check_size(encoder, stage)
    views = {
        "train": _sized(data.train, stage),
        "validation": data.validation,
        "unlabelled": _sized(data.unlabelled, stage),
        "target": data.target,
        "old": _sized(data.old, stage),
    }
    present = {name: own for name, own in views.items() if own is not None}
    found: dict[str, Inputs] = {}
    if trunks is not None and end is not None:
        found = _cached(encoder, present, end, _counts(data, data.cached_views), trunks)
    counts = _counts(data, data.n_views)
    for name in present.keys() - found.keys():
        found[name] = ImageInputs(present[name], n_views=counts[name])
    return Sources(**{name: found.get(name) for name in views})  # type: ignore[arg-type]


def _counts(data: Data, training: int) -> dict[str, int]:
    """Views per example of each part, with so many for training."""
    served = data.served_views
    return {
        "train": training, "unlabelled": training, "validation": served, "target": served, "old": 1
    }  # fmt: skip


def _cached(
    encoder: BlockwiseEncoder,
    views: dict[str, Views],
    end: int,
    counts: dict[str, int],
    trunks: TrunkStore,
) -> dict[str, Inputs]:
    """All parts from the cache, or none: a step reads its parts in one forward pass."""
    found: dict[str, Inputs] = {}
    for name, own in views.items():
        inputs = trunks.inputs(
            encoder,
            own,
            end=end,
            n_views=counts[name],
            description=f"frozen trunk, {name} images",
        )
        if inputs is None:
            return {}
        found[name] = inputs
    return found


def _sized(views: Views | None, stage: Stage) -> Views | None:
    return views.at_size(stage.image_size) if views is not None and stage.image_size else views


def _check_size(encoder: BlockwiseEncoder, stage: Stage) -> None:
    if stage.image_size and not encoder.takes_image_size(stage.image_size):
        raise UserError(
            "the backbone cannot read this image size",
            where="finetune.plan.image_sizes",
            got=str(stage.image_size),
            expected=f"{encoder.input_size}, the size it was made for",
            fix="leave image_sizes empty, or take a convolutional backbone",
        )
