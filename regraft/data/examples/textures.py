"""Generated pictures of patterned surfaces: the source task of the starter backbone.

One class is a pattern (spots, stripes, cells, veins, ...) in one of a few palettes, so neither
colour nor structure alone tells the class. Half of the pictures show the surface as a blob-shaped
object in front of another surface, which teaches to ignore the background. No leaf is drawn:
the task that a user adapts to stays unseen.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from regraft.data.examples.noise import (
    Field,
    blend,
    fractal_noise,
    grain,
    smooth_noise,
    smoothstep,
    stamp,
    to_bytes,
)

Pattern = Callable[[np.random.Generator, int], Field]


def texture_images(
    *, classes: int, images: int, size: int, seed: int
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Draw the source task.

    Returns pictures (images, size, size, 3) in 0..255 and labels (images,) in 0..classes-1,
    as even as possible. The same arguments give the same bytes.
    """
    pixels = np.empty((images, size, size, 3), dtype=np.uint8)
    labels = np.arange(images, dtype=np.int64) % classes
    palettes = _palettes(np.random.default_rng([seed, 0]), -(-classes // len(PATTERNS)))
    for index, label in enumerate(labels):
        rng = np.random.default_rng([seed, 1, index])
        pixels[index] = to_bytes(_picture(rng, int(label), classes, palettes, size))
    return pixels, labels


def _palettes(rng: np.random.Generator, count: int) -> Field:
    """Colours (count, 3, 3): ground, figure, accent; figure and ground well apart."""
    palettes: list[Field] = []
    while len(palettes) < count:
        colours = rng.uniform(0.05, 0.95, (3, 3))
        if np.abs(colours[0] - colours[1]).sum() > 0.8:
            palettes.append(colours)
    return np.stack(palettes)


def _picture(
    rng: np.random.Generator, label: int, classes: int, palettes: Field, size: int
) -> Field:
    surface = _surface(rng, label, palettes, size)
    if rng.random() < 0.5:
        return surface
    other = _surface(rng, int(rng.integers(classes)), palettes, size)
    rows, columns = np.mgrid[0:size, 0:size] / size - 0.5
    x0, y0 = rng.uniform(-0.12, 0.12, 2)
    stretch = rng.uniform(0.7, 1.4)
    distance = np.sqrt(((columns - x0) * stretch) ** 2 + ((rows - y0) / stretch) ** 2)
    outline = rng.uniform(0.28, 0.42) + 0.06 * smooth_noise(rng, size, 5)
    inside = smoothstep(-0.01, 0.01, outline - distance)
    return blend(other * rng.uniform(0.6, 1.1), surface, inside)


def _surface(rng: np.random.Generator, label: int, palettes: Field, size: int) -> Field:
    """The pattern of a class in its palette, with this picture's own light and tint."""
    pattern = PATTERNS[label % len(PATTERNS)]
    ground, figure, accent = palettes[label // len(PATTERNS)] + rng.uniform(-0.07, 0.07, (3, 3))
    mask = pattern(rng, size)
    colours = blend(np.broadcast_to(ground, (size, size, 3)), figure[None, None], mask)
    patches = smoothstep(0.35, 0.6, fractal_noise(rng, size, 3, 2))
    colours = blend(colours, accent[None, None], patches * rng.uniform(0.0, 0.5))
    light = 1.0 + 0.15 * smooth_noise(rng, size, 2) + 0.03 * grain(rng, size)
    return colours * light[..., None] * rng.uniform(0.75, 1.2)


def _rotated(rng: np.random.Generator, size: int, warp: float = 0.0) -> tuple[Field, Field]:
    """Pixel coordinates in a random direction, bent by `warp` pixels."""
    rows, columns = np.mgrid[0:size, 0:size].astype(np.float64)
    angle = rng.uniform(0, np.pi)
    along = columns * np.cos(angle) + rows * np.sin(angle)
    across = rows * np.cos(angle) - columns * np.sin(angle)
    if warp:
        along = along + warp * smooth_noise(rng, size, 4)
    return along, across


def _discs(
    rng: np.random.Generator, size: int, count: tuple[int, int], radius: tuple[float, float],
    edge: float = 1.0,
) -> Field:  # fmt: skip
    field = np.zeros((size, size))
    for _ in range(int(rng.integers(*count))):
        x, y = rng.uniform(0, size, 2)
        stamp(field, x, y, rng.uniform(*radius), edge)
    return field


def _nearest_two(rng: np.random.Generator, size: int, count: int) -> tuple[Field, Field, Field]:
    """Distances to the nearest two of `count` random points and a random tone of the nearest."""
    points = rng.uniform(-0.1 * size, 1.1 * size, (count, 2))
    rows, columns = np.mgrid[0:size, 0:size]
    squared = (columns[None] - points[:, 0, None, None]) ** 2
    squared += (rows[None] - points[:, 1, None, None]) ** 2
    tones = rng.random(count)[squared.argmin(axis=0)]
    nearest = np.sqrt(np.partition(squared, 1, axis=0)[:2])
    return nearest[0], nearest[1], tones


def _few_large_discs(rng: np.random.Generator, size: int) -> Field:
    return _discs(rng, size, (4, 9), (0.09 * size, 0.17 * size))


def _many_small_discs(rng: np.random.Generator, size: int) -> Field:
    return _discs(rng, size, (50, 110), (1.2, 2.6))


def _fuzzy_patches(rng: np.random.Generator, size: int) -> Field:
    soft = _discs(rng, size, (5, 11), (0.05 * size, 0.14 * size), edge=0.15 * size)
    return np.clip(soft * (0.8 + 0.3 * grain(rng, size)), 0, 1)


def _rings(rng: np.random.Generator, size: int) -> Field:
    field = np.zeros((size, size))
    for _ in range(int(rng.integers(5, 12))):
        ring, hole = np.zeros((2, size, size))
        x, y = rng.uniform(0, size, 2)
        radius = rng.uniform(5, 12)
        stamp(ring, x, y, radius)
        stamp(hole, x, y, radius * 0.65)
        field = np.maximum(field, ring - hole)
    return field


def _targets(rng: np.random.Generator, size: int) -> Field:
    nearest, _, _ = _nearest_two(rng, size, int(rng.integers(2, 6)))
    nearest = nearest + 2 * smooth_noise(rng, size, 5)
    return 0.5 + 0.5 * np.sin(nearest * rng.uniform(0.7, 1.2))


def _straight_stripes(rng: np.random.Generator, size: int) -> Field:
    along, _ = _rotated(rng, size)
    return smoothstep(-0.3, 0.3, np.sin(along * rng.uniform(0.45, 1.0)))


def _wavy_stripes(rng: np.random.Generator, size: int) -> Field:
    along, _ = _rotated(rng, size, warp=12)
    return smoothstep(-0.3, 0.3, np.sin(along * rng.uniform(0.45, 0.9)))


def _feather(rng: np.random.Generator, size: int) -> Field:
    along, across = _rotated(rng, size, warp=3)
    middle = across - across.mean()
    barbs = np.sin((along + np.abs(middle) * rng.uniform(0.6, 1.4)) * rng.uniform(0.5, 0.9))
    return np.maximum(smoothstep(0.3, 0.9, barbs), smoothstep(-2.5, -1.0, -np.abs(middle)))


def _checks(rng: np.random.Generator, size: int) -> Field:
    along, across = _rotated(rng, size, warp=2)
    frequency = rng.uniform(0.3, 0.7)
    return smoothstep(-0.1, 0.1, np.sin(along * frequency) * np.sin(across * frequency))


def _net(rng: np.random.Generator, size: int) -> Field:
    along, across = _rotated(rng, size, warp=4)
    frequency = rng.uniform(0.25, 0.5)
    thread = np.maximum(np.cos(along * frequency), np.cos(across * frequency))
    return smoothstep(0.75, 0.95, thread)


def _cells(rng: np.random.Generator, size: int) -> Field:
    return _nearest_two(rng, size, int(rng.integers(15, 40)))[2]


def _cracks(rng: np.random.Generator, size: int) -> Field:
    first, second, _ = _nearest_two(rng, size, int(rng.integers(12, 40)))
    return smoothstep(-2.2, -0.8, first - second)


def _blotches(rng: np.random.Generator, size: int) -> Field:
    return smoothstep(0.0, 0.15, fractal_noise(rng, size, int(rng.integers(4, 7)), 2))


def _mottle(rng: np.random.Generator, size: int) -> Field:
    return smoothstep(-0.4, 0.5, smooth_noise(rng, size, int(rng.integers(14, 24))))


def _veins(rng: np.random.Generator, size: int) -> Field:
    ridge = -np.abs(fractal_noise(rng, size, int(rng.integers(3, 6)), 3))
    return smoothstep(-0.16, -0.03, ridge)


def _marble(rng: np.random.Generator, size: int) -> Field:
    flow = 14 * fractal_noise(rng, size, 3, 4) + _rotated(rng, size)[0] * 0.15
    return 0.5 + 0.5 * np.sin(flow)


def _eaten_rim(rng: np.random.Generator, size: int) -> Field:
    along, _ = _rotated(rng, size)
    edge = along - np.quantile(along, rng.uniform(0.35, 0.65))
    return smoothstep(-1.0, 1.0, edge + 10 * fractal_noise(rng, size, 4, 3))


def _grains(rng: np.random.Generator, size: int) -> Field:
    return smoothstep(0.3, 1.2, grain(rng, size))


def _strokes(rng: np.random.Generator, size: int) -> Field:
    along, across = _rotated(rng, size, warp=6)
    lanes = np.sin(across * 1.0)
    gaps = np.sin(along * rng.uniform(0.25, 0.4) + 7 * np.sin(np.floor(across / (2 * np.pi)) * 5))
    return smoothstep(0.2, 0.5, lanes) * smoothstep(0.0, 0.3, gaps)


def _clusters(rng: np.random.Generator, size: int) -> Field:
    field = np.zeros((size, size))
    for _ in range(int(rng.integers(4, 8))):
        centre = rng.uniform(0, size, 2)
        for x, y in centre + rng.uniform(-9, 9, (9, 2)):
            stamp(field, x, y, rng.uniform(1.0, 2.4))
    return field


def _plain(rng: np.random.Generator, size: int) -> Field:
    return smoothstep(-1.2, 1.2, smooth_noise(rng, size, 2)) * rng.uniform(0.1, 0.5)


PATTERNS: tuple[Pattern, ...] = (
    _few_large_discs, _many_small_discs, _fuzzy_patches, _rings, _targets, _straight_stripes,
    _wavy_stripes, _feather, _checks, _net, _cells, _cracks, _blotches, _mottle, _veins, _marble,
    _eaten_rim, _grains, _strokes, _clusters, _plain,
)  # fmt: skip
