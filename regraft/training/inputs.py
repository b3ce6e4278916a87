"""What a training step reads: images, or what the frozen trunk made of them.

Both say how many views per image there are, hand out a batch, and turn a batch into embeddings, so
the loop does not know which one it has.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from regraft.backbones.encoder import Encoder
from regraft.progress import note, track
from regraft.training.checkpoints import explained

_BATCH = 16


class Views(Protocol):
    """Examples whose views can be rendered at any time."""

    def __len__(self) -> int: ...

    def batch(self, indices: np.ndarray, views: np.ndarray) -> torch.Tensor:
        """The network's input for these examples and view numbers."""


class Inputs(Protocol):
    """A source of batches for one stage."""

    n_views: int
    """Views per example to take turns with; 0 means a new one each epoch."""

    def batch(self, indices: np.ndarray, views: np.ndarray) -> list[torch.Tensor]: ...

    def embed(self, encoder: Encoder, batch: list[torch.Tensor]) -> torch.Tensor: ...


class ImageInputs:
    """Views rendered when asked for, through the whole network."""

    def __init__(self, views: Views, *, n_views: int = 0) -> None:
        self.views = views
        self.n_views = n_views

    def batch(self, indices: np.ndarray, views: np.ndarray) -> list[torch.Tensor]:
        x = self.views.batch(indices, views)
        return [x.contiguous(memory_format=torch.channels_last)]

    def embed(self, encoder: Encoder, batch: list[torch.Tensor]) -> torch.Tensor:
        embedding: torch.Tensor = encoder(batch[0])
        return embedding


class TrunkInputs:
    """What blocks 0..end computed of every view, memory-mapped from a folder."""

    def __init__(self, folder: Path, end: int, n_views: int) -> None:
        self.n_views = n_views
        self.end = end
        self._activations = np.load(folder / "activations.npy", mmap_mode="r")
        self._taps = np.load(folder / "taps.npy", mmap_mode="r")

    def batch(self, indices: np.ndarray, views: np.ndarray) -> list[torch.Tensor]:
        activations = torch.from_numpy(self._activations[indices, views].astype(np.float32))
        if activations.ndim == 4:
            activations = activations.contiguous(memory_format=torch.channels_last)
        return [activations, torch.from_numpy(np.array(self._taps[indices, views]))]

    def embed(self, encoder: Encoder, batch: list[torch.Tensor]) -> torch.Tensor:
        return encoder.from_trunk(batch[0], batch[1], self.end)


def trunk_inputs(
    encoder: Encoder,
    views: Views,
    *,
    end: int,
    n_views: int,
    folder: Path,
    max_bytes: int,
    description: str,
) -> TrunkInputs | None:
    """Compute (or find) what the frozen trunk makes of `n_views` views of every example.

    Returns None, and says so, where the network cannot be cut there or the cache would exceed
    `max_bytes`. A cache left incomplete by a kill is computed anew.
    """
    probe = views.batch(np.array([0]), np.array([0]))
    probe = probe.to(encoder.device).contiguous(memory_format=torch.channels_last)
    if not encoder.trunk_is_exact(probe, end):
        note(f"{encoder.blocks[end].name}: this network cannot be cut here, training uncached")
        return None
    shape = encoder.trunk(probe, end)[0].shape[1:]
    needed = len(views) * n_views * int(np.prod(shape)) * np.dtype(np.float16).itemsize
    if needed > max_bytes:
        note(f"the trunk cache would take {needed / 1e9:.1f} GB, training uncached")
        return None
    complete = folder / "complete.json"
    card = {"examples": len(views), "views": n_views, "end": end, "shape": list(shape)}
    if not complete.is_file() or json.loads(complete.read_text()) != card:
        complete.unlink(missing_ok=True)
        _fill(encoder, views, end, n_views, folder, tuple(shape), description)
        partial = complete.with_suffix(".partial")
        partial.write_text(json.dumps(card))
        partial.replace(complete)
    return TrunkInputs(folder, end, n_views)


def _fill(
    encoder: Encoder,
    views: Views,
    end: int,
    n_views: int,
    folder: Path,
    shape: tuple[int, ...],
    description: str,
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    n_taps = sum(encoder.tap_dims[index] for index in encoder.taps if index <= end)
    activations = _new_array(folder / "activations.npy", (len(views), n_views, *shape), np.float16)
    taps = _new_array(folder / "taps.npy", (len(views), n_views, n_taps), np.float32)
    pairs = [(i, v) for i in range(len(views)) for v in range(n_views)]
    batches = [np.array(pairs[i : i + _BATCH]) for i in range(0, len(pairs), _BATCH)]
    encoder.eval()
    for pair in track(batches, description, total=len(batches)):
        x = views.batch(pair[:, 0], pair[:, 1]).to(encoder.device)
        x = x.contiguous(memory_format=torch.channels_last)
        activation, pooled = encoder.trunk(x, end)
        half = activation.to(torch.float16)
        if not torch.isfinite(half).all():
            half = activation.clamp(-6e4, 6e4).to(torch.float16)
        activations[pair[:, 0], pair[:, 1]] = half.cpu().numpy()
        taps[pair[:, 0], pair[:, 1]] = pooled.cpu().numpy()
    activations.flush()
    taps.flush()


def _new_array(path: Path, shape: tuple[int, ...], dtype: Any) -> np.memmap:
    """An array on disk whose space is taken at once: a full disk met later, while the pages are
    written, would kill the process without a word."""
    array = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    try:
        if hasattr(os, "posix_fallocate"):  # macOS has none
            with path.open("r+b") as file:
                os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    except OSError as error:
        raise explained(error, path) from error
    return array
