"""Background replacement: a foreground cut out of its plain background, on a photo of the target.

Source: cut and paste as in Dwibedi, Misra and Hebert, "Cut, Paste and Learn", ICCV 2017, section
5; the background is a random crop of an unlabelled target photo, so the target's surroundings
are seen without its labels. Colours: Reinhard et al., "Color Transfer between Images", IEEE CG&A
2001, equations 10 and 11, in CIELAB: x <- (x - mean_f) std_b / std_f + mean_b, mixed with x by a
strength.

The mask comes from `regraft.data.foreground`, once per photo; composing takes milliseconds.

>>> image, background = Image.new("RGB", (40, 40), "green"), Image.new("RGB", (60, 50), "brown")
>>> mask = np.zeros((40, 40), bool)
>>> mask[10:30, 10:30] = True
>>> composite(image, mask, background, np.random.default_rng(0), 32).size
(32, 32)
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from regraft.data.foreground import RGB_TO_XYZ, WHITE, rgb_to_lab

_SMALLEST_SIDE = 8
_SHIFT = 0.2  # of the picture's size, from its middle
_CROP = (0.3, 1.0)


def composite(
    image: Image.Image,
    mask: np.ndarray,
    background: Image.Image,
    rng: np.random.Generator,
    size: int,
    *,
    colour_strength: float = 0.0,
    scale: tuple[float, float] = (0.6, 1.5),
    rotation: float = 180.0,
) -> Image.Image:
    """A square RGB picture of side `size`: the foreground of `image` on a crop of `background`.

    Parameters
    ----------
    mask : (height, width) bool, True somewhere.
    colour_strength : 0 keeps the colours, 1 gives them the background's mean and contrast.
    scale : least and greatest length of the turned foreground's longer side, in sides of the
        result; above 1 it is cut off.
    rotation : greatest angle, in degrees, to either side.
    """
    scene = _square_crop(background, rng).resize((size, size), Image.Resampling.BICUBIC)
    scene = scene.rotate(90 * int(rng.integers(4)))
    ys, xs = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    box = (int(xs[0]), int(ys[0]), int(xs[-1]) + 1, int(ys[-1]) + 1)
    shape = Image.fromarray(mask.astype(np.uint8) * 255).crop(box)
    cut = image.crop(box)
    if colour_strength:
        cut = match_colours(cut, np.asarray(shape) > 0, scene, colour_strength)
    angle, length = rng.uniform(-rotation, rotation), size * rng.uniform(*scale)
    cut, shape = _turned(cut, angle, length), _turned(shape, angle, length)
    x, y = size / 2 - np.array(cut.size) / 2 + rng.uniform(-_SHIFT, _SHIFT, 2) * size
    scene.paste(cut, (int(x), int(y)), shape)
    return scene


def match_colours(
    image: Image.Image, mask: np.ndarray, reference: Image.Image, strength: float
) -> Image.Image:
    """Move mean and standard deviation in CIELAB of the masked pixels to those of `reference`.

    A foreground of one colour has no contrast that could be scaled: below one unit its standard
    deviation counts as one.
    """
    rgb = np.array(image)
    own, other = rgb_to_lab(rgb[mask]), rgb_to_lab(np.asarray(reference)).reshape(-1, 3)
    contrast = other.std(0) / np.maximum(own.std(0), 1.0)
    moved = (own - own.mean(0)) * contrast + other.mean(0)
    rgb[mask] = lab_to_rgb(own + strength * (moved - own))
    return Image.fromarray(rgb)


def lab_to_rgb(lab: np.ndarray) -> np.ndarray:
    """8-bit sRGB (..., 3) of CIELAB (..., 3); colours that sRGB lacks are clipped."""
    y = (lab[..., 0] + 16) / 116
    f = np.stack([y + lab[..., 1] / 500, y, y - lab[..., 2] / 200], -1)
    xyz = np.where(f > 6 / 29, f**3, (f - 16 / 116) * (27 * 116 / 24389)) * WHITE
    linear = np.clip(xyz @ np.linalg.inv(RGB_TO_XYZ).T, 0, 1)
    rgb = np.where(linear > 0.0031308, 1.055 * linear ** (1 / 2.4) - 0.055, 12.92 * linear)
    return np.round(rgb * 255).astype(np.uint8)


def _square_crop(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    side = max(int(min(image.size) * rng.uniform(*_CROP)), 1)
    x, y = int(rng.integers(image.width - side + 1)), int(rng.integers(image.height - side + 1))
    return image.crop((x, y, x + side, y + side))


def _turned(image: Image.Image, angle: float, length: float) -> Image.Image:
    turned = image.rotate(angle, Image.Resampling.BICUBIC, expand=True)
    factor = length / max(turned.size)
    width, height = (max(int(side * factor), _SMALLEST_SIDE) for side in turned.size)
    return turned.resize((width, height), Image.Resampling.BICUBIC)
