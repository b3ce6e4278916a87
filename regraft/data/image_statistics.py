"""What a picture looks like in six numbers, for watching whether live pictures still look alike."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageStat

_SIDE = 128


def image_statistics(picture: Image.Image) -> dict[str, float]:
    """Statistics of an upright RGB picture (see `open_rgb`), a pure function of its pixels.

    width, height: pixels. The others are those of a copy whose longer side is at most 128 pixels,
    so that they cost about a millisecond and a larger camera alone makes no picture sharper:
    brightness, the mean luminance (ITU-R BT.601, 0 to 1); contrast, its standard deviation;
    saturation, the mean of (max - min) / max over the channels (0 to 1, black counts as 0);
    sharpness, the standard deviation of the Laplacian of the luminance (0 where a side of the copy
    has fewer than 3 pixels).
    """
    small = picture if max(picture.size) <= _SIDE else _shrunk(picture)
    light = np.asarray(small.convert("L"), dtype=np.float32) / 255
    return {
        "width": float(picture.width),
        "height": float(picture.height),
        "brightness": _rounded(light.mean()),
        "contrast": _rounded(light.std()),
        "saturation": _rounded(ImageStat.Stat(small.convert("HSV").getchannel("S")).mean[0] / 255),
        "sharpness": _rounded(_laplacian(light).std()) if min(light.shape) >= 3 else 0.0,
    }


def _shrunk(picture: Image.Image) -> Image.Image:
    scale = _SIDE / max(picture.size)
    size = (max(round(picture.width * scale), 1), max(round(picture.height * scale), 1))
    return picture.resize(size, Image.Resampling.BOX, reducing_gap=2.0)


def _laplacian(light: np.ndarray) -> np.ndarray:
    """The five-point Laplacian of the inner pixels."""
    neighbours = light[:-2, 1:-1] + light[2:, 1:-1] + light[1:-1, :-2] + light[1:-1, 2:]
    return neighbours - 4 * light[1:-1, 1:-1]


def _rounded(value: float) -> float:
    return round(float(value), 5)
