"""What a training step reads: images, or what the frozen part of the network made of them.

All say how many views per example there are, hand out a batch, and turn a batch into embeddings, so
the loop does not know which one it has.
"""

from __future__ import annotations

from typing import IO, Protocol

import numpy as np
import torch

from regraft.backbones.blockwise import BlockwiseEncoder
from regraft.backbones.layout import channels_last


class Views(Protocol):
    """Examples whose views can be rendered at any time.

    `fingerprint` names what is rendered: the examples, their contents, and every option.
    """

    @property
    def fingerprint(self) -> str: ...

    def __len__(self) -> int: ...

    def batch(self, indices: np.ndarray, views: np.ndarray) -> torch.Tensor:
        """The network's input for these examples and view numbers."""

    def at_size(self, image_size: int) -> Views:
        """The same views for another size of the network's input."""


class Inputs(Protocol):
    """A source of batches for one stage."""

    n_views: int
    """Views per example to take turns with; 0 means a new one each epoch."""

    def __len__(self) -> int: ...

    def batch(self, indices: np.ndarray, views: np.ndarray) -> list[torch.Tensor]: ...

    def embed(self, encoder: BlockwiseEncoder, batch: list[torch.Tensor]) -> torch.Tensor: ...


class ImageInputs:
    """Views rendered when asked for, through the whole network."""

    def __init__(self, views: Views, *, n_views: int = 0) -> None:
        self.views = views
        self.n_views = n_views

    def __len__(self) -> int:
        return len(self.views)

    def batch(self, indices: np.ndarray, views: np.ndarray) -> list[torch.Tensor]:
        x = self.views.batch(indices, views)
        return [channels_last(x)]

    def embed(self, encoder: BlockwiseEncoder, batch: list[torch.Tensor]) -> torch.Tensor:
        embedding: torch.Tensor = encoder(batch[0])
        return embedding


class TrunkInputs:
    """What blocks 0..end computed of every view: activations (n, views, ...) and pooled taps
    (n, views, dims). `lock` is held as long as the inputs live."""

    def __init__(
        self, activations: np.ndarray, taps: np.ndarray, *, end: int, lock: IO[str]
    ) -> None:
        self.n_views = activations.shape[1]
        self.end = end
        self._activations, self._taps, self._lock = activations, taps, lock

    def __len__(self) -> int:
        return len(self._activations)

    def batch(self, indices: np.ndarray, views: np.ndarray) -> list[torch.Tensor]:
        activations = torch.from_numpy(self._activations[indices, views].astype(np.float32))
        return [channels_last(activations), torch.from_numpy(np.array(self._taps[indices, views]))]

    def embed(self, encoder: BlockwiseEncoder, batch: list[torch.Tensor]) -> torch.Tensor:
        return encoder.from_trunk(batch[0], batch[1], self.end)


class EmbeddingInputs:
    """What the whole encoder computed of every view (n, views, dim): for a stage of the head."""

    def __init__(self, embeddings: np.ndarray, *, lock: IO[str]) -> None:
        self.n_views = embeddings.shape[1]
        self._embeddings, self._lock = embeddings, lock

    def __len__(self) -> int:
        return len(self._embeddings)

    def batch(self, indices: np.ndarray, views: np.ndarray) -> list[torch.Tensor]:
        return [torch.from_numpy(np.array(self._embeddings[indices, views]))]

    def embed(self, encoder: BlockwiseEncoder, batch: list[torch.Tensor]) -> torch.Tensor:
        return batch[0]
