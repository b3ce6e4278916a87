"""How good a starter backbone's frozen features are: a linear probe on the example leaves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from regraft.training.starter_files import CHANNEL_MEAN, CHANNEL_STD

if TYPE_CHECKING:
    import torch
    from torch import nn

EMBEDDING_BATCH_SIZE = 32


def probe_starter(
    weights: Path | str, *, images_per_class: int = 20, test_per_class: int = 40, seed: int = 0
) -> dict[str, float]:
    """Linear-probe accuracy on the example leaves, starter against random weights.

    Logistic regression on standardised pooled features; trained on `images_per_class` lab
    pictures of each class, scored on `test_per_class` other lab pictures and as many field ones.
    """
    from safetensors.torch import load_file

    from regraft.data.examples.leaves import leaf_images

    weights = Path(weights)
    config = json.loads((weights.parent / "config.json").read_text(encoding="utf-8"))
    size = config["pretrained_cfg"]["input_size"][1]
    lab, lab_labels = leaf_images("lab", per_class=images_per_class + test_per_class, seed=seed)
    field, field_labels = leaf_images("field", per_class=test_per_class, seed=seed)
    train = np.arange(len(lab)) % (images_per_class + test_per_class) < images_per_class
    result: dict[str, float] = {"images_per_class": images_per_class}
    with fixed_torch(seed, threads=1):
        model = create_network(config["architecture"], num_classes=0)
        for name in ("random_weights", "starter"):
            if name == "starter":
                model.load_state_dict(load_file(weights), strict=True)
            features = embed_pixels(model, lab, size)
            probe = _linear_probe(features[train], lab_labels[train])
            result[f"lab_{name}"] = probe.score(features[~train], lab_labels[~train])
            result[f"field_{name}"] = probe.score(embed_pixels(model, field, size), field_labels)
    return {key: round(float(value), 4) for key, value in result.items()}


def embed_pixels(model: nn.Module, pixels: NDArray[np.uint8], size: int) -> NDArray[np.float32]:
    """Pooled features (n, dim) of pictures (n, height, width, 3), resized to `size` pixels."""
    import torch
    from torch.nn import functional

    model.eval()
    chunks = []
    with torch.inference_mode():
        for start in range(0, len(pixels), EMBEDDING_BATCH_SIZE):
            batch = normalised(torch.from_numpy(pixels[start : start + EMBEDDING_BATCH_SIZE]))
            if batch.shape[-1] != size:
                batch = functional.interpolate(
                    batch, size=(size, size), mode="bicubic", antialias=True
                )
            chunks.append(model(batch).numpy())
    return np.concatenate(chunks)


def normalised(images: torch.Tensor) -> torch.Tensor:
    """(n, height, width, 3) bytes to (n, 3, height, width) in the units of the network."""
    import torch

    mean, std = torch.tensor(CHANNEL_MEAN), torch.tensor(CHANNEL_STD)
    return ((images.float() / 255 - mean) / std).permute(0, 3, 1, 2).contiguous()


def create_network(architecture: str, num_classes: int) -> nn.Module:
    """The timm model at random weights, in the memory layout that is faster on CPUs."""
    import timm
    import torch

    model = timm.create_model(architecture, pretrained=False, num_classes=num_classes)
    return model.to(memory_format=torch.channels_last)


@contextmanager
def fixed_torch(seed: int, threads: int) -> Iterator[None]:
    """Seed torch and fix its thread count inside; the caller's state comes back afterwards."""
    import torch

    before = torch.get_num_threads()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        torch.set_num_threads(threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)


def _linear_probe(features: NDArray[np.float32], labels: NDArray[np.int64]) -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=3000))
    return probe.fit(features, labels)
