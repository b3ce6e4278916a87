"""What one training step hands to the objectives, and what fine-tuning begins with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

Embed = Callable[[Any, list[torch.Tensor]], torch.Tensor]
"""(encoder, inputs) to embeddings (n, dim): through the whole network, or from a cached trunk."""


@dataclass(frozen=True)
class Batch:
    """Examples on their way through the model.

    Attributes
    ----------
    inputs : what the trainable part reads: images (n, 3, s, s), or what the frozen trunk made of
        them (activations first).
    embeddings : (n, dim), with gradient.
    logits : (n, classes), with gradient.
    """

    inputs: list[torch.Tensor]
    embeddings: torch.Tensor
    logits: torch.Tensor


@dataclass(frozen=True)
class Step:
    """One training step as an objective sees it.

    Attributes
    ----------
    model : the model in training (`.encoder`, `.head`).
    embed : turns `inputs` into embeddings, for a reference model with the same frozen trunk.
    labelled : the labelled (source) batch; `targets` (n, classes) are its soft labels.
    progress : share of the stage that is done, 0 to 1.
    unlabelled : a batch of the target domain, where an objective needs one.
    """

    model: Any
    embed: Embed
    labelled: Batch
    targets: torch.Tensor
    progress: float
    unlabelled: Batch | None = None


@dataclass(frozen=True)
class Partners:
    """What examples of each class are in another modality: vectors (p, d) and classes (p,)."""

    vectors: np.ndarray
    classes: np.ndarray


@dataclass(frozen=True)
class Start:
    """What fine-tuning begins with.

    Attributes
    ----------
    model : the model with its first head, in eval mode; nothing may change it.
    embed : as in `Step`.
    old : an iterator factory over (inputs, targets (n, classes)) of what must not be forgotten,
        view 0 of every old example once; the training examples where nothing older is known.
    example : inputs of one example, to read shapes from.
    rng : for initial values.
    partners : of the examples, where they have any.
    """

    model: Any
    embed: Embed
    old: Callable[[], Iterator[tuple[list[torch.Tensor], torch.Tensor]]]
    example: list[torch.Tensor]
    rng: np.random.Generator
    partners: Partners | None = None
