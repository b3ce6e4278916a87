"""The frozen-trunk cache: what frozen blocks make of every view is computed once and kept on disk.

An entry is a folder named after everything it depends on: the weights of the frozen blocks, the
views (examples, contents, transform), the cut, the library. So stages, runs and processes share
entries, and none is ever stale. An entry is complete when its card.json is there; what a kill left
is computed anew. Entries in use hold a shared lock; among the others the least recently used go
when the bound is reached.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch

from regraft.backbones.blockwise import BlockwiseEncoder
from regraft.backbones.folding import folded
from regraft.backbones.layout import channels_last
from regraft.data.files import atomic_write
from regraft.progress import note, track
from regraft.training.checkpoints import explained
from regraft.training.inputs import EmbeddingInputs, Inputs, TrunkInputs, Views

_BATCH = 16
_LIBRARIES = ("torch", "torchvision", "timm", "transformers", "pillow")

Compute = Callable[[torch.Tensor], list[torch.Tensor]]


@dataclass(frozen=True)
class TrunkStore:
    """Cached activations under one folder.

    Attributes
    ----------
    max_bytes : bound on the size of all entries together.
    code_version : of the library that computes them.
    """

    root: Path
    max_bytes: int
    code_version: str = ""

    def inputs(
        self, encoder: BlockwiseEncoder, views: Views, *, end: int, n_views: int, description: str
    ) -> Inputs | None:
        """What blocks 0..end make of `n_views` views of every example, found or computed.

        With `end` behind the last block that is the embedding. Returns None, and says so, where
        the network cannot be cut there or there is no room.

        Raises
        ------
        UserError
            The disk is full.
        """
        encoder.eval()  # batch norm must not measure what is only looked at
        sample = views.batch(np.array([0]), np.array([0]))
        sample = channels_last(sample.to(encoder.device))
        whole = end >= len(encoder.blocks)
        if not whole and not encoder.trunk_is_exact(sample, end):
            note(f"{encoder.blocks[end].name}: this network cannot be cut here, training uncached")
            return None
        compute = _embedding(encoder) if whole else _trunk(encoder, end)
        arrays = _layout(compute(sample), len(views), n_views)
        card = self._card(encoder, views, end, arrays)
        name = hashlib.sha256(json.dumps(card, sort_keys=True).encode()).hexdigest()[:24]
        folder = self.root / name
        self.root.mkdir(parents=True, exist_ok=True)
        lock = _shared(folder)
        if not (folder / "card.json").is_file():
            _make_exclusive(lock)
        if not (folder / "card.json").is_file():
            files = self._room_for(folder, arrays)
            if files is None:
                return None
            faster = folded(encoder)
            fill = _embedding(faster) if whole else _trunk(faster, end)
            _fill(files, encoder.device, views, fill, description)
            text = json.dumps(card, indent=2)
            atomic_write(folder / "card.json", lambda partial: partial.write_text(text))
        os.utime(folder / "card.json")
        opened = [np.load(folder / f"{i}.npy", mmap_mode="r") for i in range(len(arrays))]
        fcntl.flock(lock, fcntl.LOCK_SH)
        if whole:
            return EmbeddingInputs(opened[0], lock=lock)
        return TrunkInputs(opened[0], opened[1], end=end, lock=lock)

    def _card(
        self, encoder: BlockwiseEncoder, views: Views, end: int, arrays: Any
    ) -> dict[str, Any]:
        return {
            "weights": weights_digest(encoder, end),
            "backbone": encoder.spec.to_json(),
            "views": views.fingerprint,
            "end": end,
            "arrays": [[list(shape), np.dtype(dtype).name] for shape, dtype in arrays],
            "code": self.code_version,
            "made_with": {name: version(name) for name in _LIBRARIES},
        }

    def _room_for(self, folder: Path, arrays: Any) -> list[np.memmap] | None:
        """New arrays on disk, after the least recently used entries made room for them."""
        needed = sum(int(np.prod(shape)) * np.dtype(dtype).itemsize for shape, dtype in arrays)
        with _holding(self.root / "store.lock"):
            shutil.rmtree(folder, ignore_errors=True)
            if not self._evict(needed):
                note(f"the trunk cache would take {needed / 1e9:.2f} GB more, training uncached")
                return None
            folder.mkdir(parents=True)
            return [_new_array(folder / f"{i}.npy", *one) for i, one in enumerate(arrays)]

    def _evict(self, needed: int) -> bool:
        """Remove unused entries, the least recently used first, until `needed` bytes fit."""
        sizes = {folder: _bytes(folder) for folder in self.root.iterdir() if folder.is_dir()}
        free = self.max_bytes - sum(sizes.values())
        if needed > self.max_bytes:
            return False
        for folder in sorted(sizes, key=_last_used):
            if free >= needed:
                break
            with _holding(folder.with_name(f"{folder.name}.lock"), wait=False) as held:
                if held:
                    shutil.rmtree(folder, ignore_errors=True)
                    free += sizes[folder]
        return free >= needed


def _trunk(encoder: BlockwiseEncoder, end: int) -> Compute:
    """Activation in half precision and pooled taps."""

    def compute(x: torch.Tensor) -> list[torch.Tensor]:
        activation, taps = encoder.trunk(x, end)
        half = activation.to(torch.float16)
        if not torch.isfinite(half).all():
            half = activation.clamp(-6e4, 6e4).to(torch.float16)
        return [half, taps]

    return compute


def _embedding(encoder: BlockwiseEncoder) -> Compute:
    @torch.inference_mode()
    def compute(x: torch.Tensor) -> list[torch.Tensor]:
        return [encoder(x)]

    return compute


def _layout(sample: list[torch.Tensor], n: int, n_views: int) -> list[tuple[tuple[int, ...], Any]]:
    return [((n, n_views, *one.shape[1:]), one.cpu().numpy().dtype) for one in sample]


def _fill(
    arrays: list[np.memmap],
    device: torch.device,
    views: Views,
    compute: Compute,
    description: str,
) -> None:
    n, n_views = arrays[0].shape[:2]
    pairs = [(i, v) for i in range(n) for v in range(n_views)]
    batches = [np.array(pairs[i : i + _BATCH]) for i in range(0, len(pairs), _BATCH)]
    for pair in track(batches, description, total=len(batches)):
        x = views.batch(pair[:, 0], pair[:, 1]).to(device)
        found = compute(channels_last(x))
        for array, values in zip(arrays, found, strict=True):
            array[pair[:, 0], pair[:, 1]] = values.cpu().numpy()
    for array in arrays:
        array.flush()


def weights_digest(encoder: BlockwiseEncoder, end: int) -> str:
    """Of the parameters of blocks 0..end, and of the buffers of their modules. Buffers of modules
    without parameters are counted in: they hardly ever move, and a miss is only slow."""
    frozen = {name for block in encoder.blocks[: end + 1] for name in block.parameters}
    content = hashlib.sha256()
    for path, module in encoder.model.named_modules():
        inside = [name for name, _ in module.named_parameters(recurse=False)]
        own = {f"{path}.{name}" if path else name for name in inside}
        if own and not own & frozen:
            continue
        values = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
        for name, value in values:
            content.update(f"{path}.{name}{tuple(value.shape)}".encode())
            content.update(value.detach().cpu().contiguous().numpy().tobytes())
    return content.hexdigest()


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


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def _last_used(folder: Path) -> float:
    card = folder / "card.json"
    return card.stat().st_mtime if card.is_file() else 0.0


def _shared(folder: Path) -> IO[str]:
    """The lock file of an entry, held together with other readers; closing it lets go. Readers in
    one process hold it once each, so only who has to compute an entry may ask for more."""
    file = folder.with_name(f"{folder.name}.lock").open("w")
    fcntl.flock(file, fcntl.LOCK_SH)
    return file


def _make_exclusive(file: IO[str]) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        note("another run computes the same trunk; waiting for it")
        fcntl.flock(file, fcntl.LOCK_EX)


@contextmanager
def _holding(path: Path, *, wait: bool = True) -> Iterator[bool]:
    """Hold the lock while inside; without `wait` yields False where another holds it."""
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
