"""What a backbone expects of its input, and how to find out when a weight file does not say.

A bare weight file carries no mean and standard deviation, and timm's registered values may be of
other weights of the same architecture (the TensorFlow and the PyTorch MobileNetV2 differ). Batch
norm remembers what its layers saw in pre-training: under the right preprocessing the statistics of
natural images agree best with the stored ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image
    from torch import nn


CLOSER = 0.7
"""A photo is taken from further away than those of pre-training, and what matters is small in it.
On field photos the closer look bought one to two points for no further pass, on lab photos nothing
(docs/decisions.md)."""


@dataclass(frozen=True)
class Preprocessing:
    """From an RGB image to the network's input."""

    image_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: str = "bicubic"
    crop_share: float = 1.0
    """Share of the resized image that the centre crop keeps."""
    closer_share: float = 1.0
    """Share of the sides that every second test view keeps, enlarged to the network's size; 1, what
    models have that were saved before there was this, is no closer look."""

    def resized(self, image: Image) -> Image:
        """The square centre, at the network's size. The whole image is kept (squeezed to a
        square) with crop_share 1: a lesion at the margin must not be cut away."""
        from PIL.Image import Resampling

        method = Resampling[self.interpolation.upper()]
        side = round(self.image_size / self.crop_share)
        image = image.resize((side, side), method)
        offset = (side - self.image_size) // 2
        if offset == 0:
            return image
        return image.crop((offset, offset, offset + self.image_size, offset + self.image_size))

    def tensor(self, images: list[Image]) -> torch.Tensor:
        """Normalised float32 tensor (n, 3, image_size, image_size), channels last in memory."""
        import torch

        pixels = np.stack([np.asarray(self.resized(image), dtype=np.uint8) for image in images])
        return self.normalise(torch.from_numpy(pixels))

    def normalise(self, pixels: torch.Tensor) -> torch.Tensor:
        """uint8 (n, height, width, 3) to normalised float32 (n, 3, height, width)."""
        import torch

        mean = torch.tensor(self.mean) * 255
        scale = 1 / (torch.tensor(self.std) * 255)
        return ((pixels.float() - mean) * scale).permute(0, 3, 1, 2)


def of_timm(cfg: dict[str, Any]) -> Preprocessing:
    """The preprocessing of a timm `pretrained_cfg`."""
    return Preprocessing(
        image_size=int(cfg.get("input_size", (3, 224, 224))[-1]),
        mean=_triple(cfg.get("mean", (0.485, 0.456, 0.406))),
        std=_triple(cfg.get("std", (0.229, 0.224, 0.225))),
        interpolation=_known_interpolation(cfg.get("interpolation") or "bicubic"),
        closer_share=CLOSER,
    )


def of_transformers(processor: Any, image_size: int) -> Preprocessing:
    """What an image processor of transformers does to the channels; the whole image is squeezed to
    the network's square."""
    return Preprocessing(
        image_size,
        mean=_triple(processor.image_mean),
        std=_triple(processor.image_std),
        closer_share=CLOSER,
    )


def _triple(values: Any) -> tuple[float, float, float]:
    red, green, blue = (float(value) for value in values)
    return red, green, blue


def _known_interpolation(name: str) -> str:
    return name if name in {"bicubic", "bilinear", "nearest", "lanczos"} else "bicubic"


def batch_norm_mismatch(model: nn.Module, inputs: torch.Tensor) -> float:
    """Mean distance of the batch's statistics from the stored ones, over all batch norms.

    Per channel |mean - running mean| / sigma + |log(variance ratio)| / 2; `inputs` (n, 3, h, w).
    NaN when the model has no batch norm.
    """
    import torch
    from torch import nn

    distances: list[float] = []

    def measure(layer: nn.Module, args: tuple[torch.Tensor, ...]) -> None:
        assert isinstance(layer, nn.BatchNorm2d)
        x = args[0].float()
        if layer.running_mean is None or layer.running_var is None:
            return
        mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3))
        expected = layer.running_var + layer.eps
        offset = (mean - layer.running_mean).abs() / expected.sqrt()
        spread = ((variance + layer.eps) / expected).log().abs() / 2
        distances.append(float((offset + spread).median()))

    hooks = [
        layer.register_forward_pre_hook(measure)
        for layer in model.modules()
        if isinstance(layer, nn.BatchNorm2d)
    ]
    try:
        with torch.inference_mode():
            model(inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return float(np.mean(distances)) if distances else float("nan")


def natural_photos() -> list[Image]:
    """18 crops of the two photographs that scikit-learn ships: natural images that belong to
    nobody's task, so that the inference below is a property of the weights alone."""
    from PIL import Image as Pillow
    from sklearn.datasets import load_sample_images

    crops = []
    for photo in map(Pillow.fromarray, load_sample_images().images):
        width, height = photo.size
        for side in (height, height * 2 // 3):
            for left in np.linspace(0, width - side, 3).astype(int):
                for top in sorted({0, height - side}):
                    crops.append(photo.crop((left, top, left + side, top + side)))
    return crops


def infer_preprocessing(
    build: Callable[[dict[str, Any]], nn.Module],
    registered: Preprocessing,
    variants: list[dict[str, Any]],
) -> tuple[Preprocessing, dict[str, Any], dict[str, float]]:
    """Choose input scale and model arguments by agreement with the stored statistics.

    `build(arguments)` returns the loaded model in eval mode; `variants` are the model arguments to
    try. Returns the preprocessing, the arguments and the mismatch of everything tried. Without
    batch norm nothing can be inferred: the registered values and an empty table are returned.
    """
    half = (0.5, 0.5, 0.5)
    scales = {"registered": registered, "-1..1": replace(registered, mean=half, std=half)}
    photos = natural_photos()
    table: dict[str, float] = {}
    best = (float("inf"), registered, variants[0])
    for arguments in variants:
        model = build(arguments)
        for scale, preprocessing in scales.items():
            mismatch = batch_norm_mismatch(model, preprocessing.tensor(photos))
            if np.isnan(mismatch):
                return registered, variants[0], {}
            table[" ".join([scale, *(f"{k}={v}" for k, v in arguments.items())])] = mismatch
            best = min(best, (mismatch, preprocessing, arguments), key=lambda found: found[0])
    return best[1], best[2], table
