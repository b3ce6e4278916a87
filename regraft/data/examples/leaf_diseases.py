"""How each disease changes the surface of a drawn leaf."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from regraft.data.examples.leaf_shape import Leaf
from regraft.data.examples.noise import (
    Field,
    blend,
    fractal_noise,
    grain,
    smooth_noise,
    smoothstep,
    stamp,
)

Disease = Callable[[np.random.Generator, Leaf, Field], Field]


def _points_on(
    rng: np.random.Generator, where: np.ndarray, count: int
) -> list[tuple[float, float]]:
    """`count` random positions (x, y) among the true pixels of `where`."""
    rows, columns = np.nonzero(where)
    if len(rows) == 0:
        return []
    chosen = rng.integers(len(rows), size=count)
    return [(float(columns[i]), float(rows[i])) for i in chosen]


def healthy(rng: np.random.Generator, leaf: Leaf, colours: Field) -> Field:
    """No disease."""
    return colours


def rust(rng: np.random.Generator, leaf: Leaf, colours: Field) -> Field:
    """Many small orange-brown pustules, in loose clusters, each in a pale halo."""
    pustules, halos = np.zeros((2, *leaf.along.shape))
    unit = leaf.length / 100
    clusters = _points_on(rng, leaf.margin > 4, int(rng.integers(2, 6)))
    for x, y in _points_on(rng, leaf.margin > 2, int(rng.integers(6, 50))):
        if clusters and rng.random() < 0.6:
            centre = clusters[int(rng.integers(len(clusters)))]
            x, y = (centre[i] + rng.uniform(-11, 11) * unit for i in range(2))
        radius = rng.uniform(0.7, 2.0) * unit
        stamp(pustules, x, y, radius, edge=1.0)
        stamp(halos, x, y, radius + 1.8 * unit, edge=2.5)
    pale = np.array([0.68, 0.62, 0.26])
    colours = blend(colours, pale[None, None], halos * rng.uniform(0.15, 0.55))
    orange = np.array([0.74, 0.37, 0.09]) + rng.uniform(-0.14, 0.08, 3) * [1.0, 0.8, 0.4]
    shade = 1 + 0.25 * smooth_noise(rng, leaf.along.shape[0], 40)
    return blend(colours, orange * shade[..., None], pustules * rng.uniform(0.75, 1.0))


def blight(rng: np.random.Generator, leaf: Leaf, colours: Field) -> Field:
    """Few large brown lesions that grow in from the margin, ringed, dark-edged, yellow around."""
    size = leaf.along.shape[0]
    rows, columns = np.mgrid[0:size, 0:size]
    on_margin = (leaf.margin > 0) & (leaf.margin < 0.07 * leaf.length)
    brown = np.array([0.40, 0.27, 0.15]) + rng.uniform(-0.1, 0.12)
    brown = brown + rng.uniform(-0.03, 0.03, 3)
    for x, y in _points_on(rng, on_margin, int(rng.integers(1, 4))):
        radius = rng.uniform(0.05, 0.25) * leaf.length
        stretch = rng.uniform(0.75, 1.3)
        distance = np.sqrt(((columns - x) * stretch) ** 2 + ((rows - y) / stretch) ** 2)
        distance = distance * (1 + 0.3 * fractal_noise(rng, size, 6, 3))
        halo = np.exp(-np.clip(distance - radius, 0, None) / (0.06 * leaf.length))
        yellow = np.array([[[0.66, 0.62, 0.24]]])
        colours = blend(colours, yellow, halo * rng.uniform(0.1, 0.7))
        rings = 1 + rng.uniform(0.0, 0.2) * np.sin(distance / rng.uniform(0.9, 1.6))
        rings = rings + 0.12 * grain(rng, size) * 0.5
        lesion = smoothstep(-1.5, 1.5, radius - distance)
        colours = blend(colours, brown * rings[..., None], lesion * rng.uniform(0.8, 0.97))
        edge = np.exp(-(((distance - radius) / 1.6) ** 2)) * rng.uniform(0.2, 0.7)
        colours = blend(colours, brown[None, None] * 0.5, edge)
    return colours


def mosaic(rng: np.random.Generator, leaf: Leaf, colours: Field) -> Field:
    """Pale yellow-green patches between darker ones, sharpest along the veins."""
    size = leaf.along.shape[0]
    cells = int(np.clip(size / leaf.length * rng.uniform(12, 24), 8, 40))
    patches = fractal_noise(rng, size, cells, 3) - 0.4 * leaf.veins
    threshold, softness = rng.uniform(-0.25, 0.2), rng.uniform(0.2, 0.55)
    pale_share = smoothstep(threshold - softness, threshold + softness, patches)
    mean = colours[leaf.inside > 0.9].mean(axis=0) if (leaf.inside > 0.9).any() else 0.4
    pale = mean * 0.45 + np.array([0.68, 0.72, 0.30]) * 0.62
    strength = rng.uniform(0.35, 0.85)
    colours = blend(colours * (1 - 0.12 * strength), pale[None, None], pale_share * strength)
    blisters = 1 + rng.uniform(0.02, 0.10) * smooth_noise(rng, size, cells)
    return colours * blisters[..., None]


def powdery_mildew(rng: np.random.Generator, leaf: Leaf, colours: Field) -> Field:
    """White to grey, soft-edged, floury patches that hide the veins."""
    size = leaf.along.shape[0]
    cover = np.zeros((size, size))
    for x, y in _points_on(rng, leaf.margin > 3, int(rng.integers(2, 12))):
        radius = rng.uniform(0.03, 0.10) * leaf.length
        stamp(cover, x, y, radius, edge=rng.uniform(0.8, 1.6) * radius)
    cover = cover * np.clip(0.85 + 0.5 * fractal_noise(rng, size, 14, 3), 0, 1.15)
    cover = np.clip(cover * (1 + 0.13 * grain(rng, size)), 0, 1)
    flour = np.array([0.84, 0.85, 0.80]) - rng.uniform(0, 0.12)
    return blend(colours, flour[None, None], cover * rng.uniform(0.35, 0.9))


DISEASES: dict[str, Disease] = {
    "blight": blight,
    "healthy": healthy,
    "mosaic": mosaic,
    "powdery_mildew": powdery_mildew,
    "rust": rust,
}
