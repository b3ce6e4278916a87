"""Embeddings of every example of a frozen backbone, in the place of a trunk that computes them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from regraft.backbones.blockwise import BlockwiseEncoder
from regraft.training.inputs import Inputs, Views


class StoredEmbeddings:
    """`Inputs` of a stage of the head: one embedding (n, dim) per example."""

    n_views = 1

    def __init__(self, embeddings: np.ndarray) -> None:
        self._embeddings = torch.from_numpy(np.asarray(embeddings, dtype=np.float32))

    def __len__(self) -> int:
        return len(self._embeddings)

    def batch(self, indices: np.ndarray, views: np.ndarray) -> list[torch.Tensor]:
        return [self._embeddings[indices]]

    def embed(self, encoder: BlockwiseEncoder, batch: list[torch.Tensor]) -> torch.Tensor:
        return batch[0]


class KnownFeatures:
    """Answers as a `TrunkStore` does, from what is known: valid while no block moves."""

    def __init__(self) -> None:
        self._known: dict[str, np.ndarray] = {}

    def add(self, views: Views, embeddings: np.ndarray) -> None:
        """Remember the embeddings (n, dim) of these examples."""
        self._known[views.fingerprint] = embeddings

    def inputs(self, encoder: BlockwiseEncoder, views: Views, **_: Any) -> Inputs:
        """The embeddings of `views`; a KeyError if they were not added."""
        return StoredEmbeddings(self._known[views.fingerprint])
