"""Where a drawn leaf is photographed: under studio light in the laboratory, or in the field."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from regraft.data.examples.leaf_diseases import Disease
from regraft.data.examples.leaf_shape import grow_leaf, healthy_surface
from regraft.data.examples.noise import (
    Field,
    blend,
    fractal_noise,
    grain,
    smooth_noise,
    smoothstep,
)

Scene = Callable[[np.random.Generator, int, Disease], Field]


def lab_photo(rng: np.random.Generator, size: int, disease: Disease) -> Field:
    """One centred leaf on plain paper under even light."""
    angle = -np.pi / 2 + rng.uniform(-1.4, 1.4)
    centre = size * rng.uniform(0.44, 0.56), size * rng.uniform(0.44, 0.56)
    leaf = grow_leaf(rng, size, centre=centre, length=size * rng.uniform(0.7, 0.97), angle=angle)
    paper = rng.uniform(0.2, 0.92) + rng.uniform(-0.05, 0.05, 3)
    light = 1 + 0.09 * smooth_noise(rng, size, 2) + 0.012 * grain(rng, size)
    picture = paper * light[..., None]
    shadow = _shadow(leaf.inside, rng.integers(1, 6, 2), 3)
    picture = picture * (1 - rng.uniform(0.15, 0.45) * shadow)[..., None]
    surface = disease(rng, leaf, healthy_surface(rng, leaf))
    picture = blend(picture, surface, leaf.inside) * rng.uniform(0.9, 1.1)
    return picture + 0.008 * grain(rng, size)[..., None]


def field_photo(rng: np.random.Generator, size: int, disease: Disease) -> Field:
    """A leaf of any size and direction among soil and foliage, in changing light, often blurred."""
    picture = _surroundings(rng, size)
    length = size * rng.uniform(0.62, 1.15)
    centre = size * rng.uniform(0.38, 0.62), size * rng.uniform(0.38, 0.62)
    leaf = grow_leaf(rng, size, centre=centre, length=length, angle=rng.uniform(0, 2 * np.pi))
    shadow = _shadow(leaf.inside, rng.integers(-5, 6, 2), 2)
    picture = picture * (1 - 0.4 * shadow)[..., None]
    picture = blend(picture, disease(rng, leaf, healthy_surface(rng, leaf)), leaf.inside)
    if rng.random() < 0.5:
        picture = _with_blade(rng, picture)
    return _outdoor_light(rng, picture)


SCENES: dict[str, Scene] = {"lab": lab_photo, "field": field_photo}


def _surroundings(rng: np.random.Generator, size: int) -> Field:
    """Ground and other leaves, drawn at half the resolution: they lie out of focus."""
    half = size // 2
    picture = _soil(rng, half) if rng.random() < 0.5 else _undergrowth(rng, half)
    for _ in range(int(rng.integers(3, 9))):
        picture = _with_bystander(rng, picture)
    picture = _soft(picture, int(rng.integers(0, 2))) * rng.uniform(0.45, 0.95)
    return _soft(picture.repeat(2, axis=0).repeat(2, axis=1), 1)


def _soil(rng: np.random.Generator, size: int) -> Field:
    tone = np.array([0.36, 0.27, 0.19]) * rng.uniform(0.6, 1.5) + rng.uniform(-0.04, 0.04, 3)
    crumbs = 1 + 0.45 * fractal_noise(rng, size, 8, 4) + 0.12 * grain(rng, size)
    stones = smoothstep(0.55, 0.75, smooth_noise(rng, size, int(rng.integers(9, 20))))
    stone = np.full(3, rng.uniform(0.4, 0.75))
    return blend(tone * crumbs[..., None], stone * crumbs[..., None], stones)


def _undergrowth(rng: np.random.Generator, size: int) -> Field:
    dark = np.array([0.10, 0.17, 0.07]) * rng.uniform(0.7, 1.6)
    bright = np.array([0.38, 0.50, 0.20]) * rng.uniform(0.7, 1.3)
    tangle = smoothstep(-0.3, 0.6, fractal_noise(rng, size, 7, 4))
    return blend(np.broadcast_to(dark, (size, size, 3)), bright[None, None], tangle)


def _with_bystander(rng: np.random.Generator, picture: Field) -> Field:
    """Another leaf in the background: green, or dry and brown like litter."""
    size = picture.shape[0]
    leaf = grow_leaf(
        rng,
        size,
        centre=tuple(rng.uniform(0, size, 2)),
        length=size * rng.uniform(0.3, 0.9),
        angle=rng.uniform(0, 2 * np.pi),
    )
    surface = healthy_surface(rng, leaf)
    if rng.random() < 0.3:
        litter = np.array([1.5, 0.85, 0.7]) * rng.uniform(0.7, 1.1)
        surface = surface * litter
    return blend(picture * (1 - 0.3 * _soft(leaf.inside, 2))[..., None], surface, leaf.inside)


def _with_blade(rng: np.random.Generator, picture: Field) -> Field:
    """A blade of grass or a stem across the picture, in front of the leaf."""
    size = picture.shape[0]
    rows, columns = np.mgrid[0:size, 0:size].astype(np.float64)
    angle = rng.uniform(0, np.pi)
    offset = rng.uniform(-0.35, 0.35) * size
    x, y = columns - size / 2, rows - size / 2
    distance = x * np.sin(angle) - y * np.cos(angle) - offset
    along = x * np.cos(angle) + y * np.sin(angle)
    distance = distance + rng.uniform(-0.003, 0.003) * along**2
    width = rng.uniform(1.5, 0.06 * size)
    blade = np.clip(width - np.abs(distance) + 0.5, 0, 1)
    green = np.array([0.32, 0.45, 0.16]) * rng.uniform(0.6, 1.5) + rng.uniform(-0.05, 0.05, 3)
    round_light = 0.75 + 0.4 * np.exp(-((distance / width) ** 2) * 3)
    return blend(picture, green * round_light[..., None], blade)


def _outdoor_light(rng: np.random.Generator, picture: Field) -> Field:
    """Dappled sun, colour cast, exposure, defocus and sensor noise."""
    size = picture.shape[0]
    if rng.random() < 0.6:
        sun = smoothstep(-0.2, 0.3, fractal_noise(rng, size, int(rng.integers(2, 6)), 2))
        picture = picture * (rng.uniform(0.5, 0.8) + sun * rng.uniform(0.4, 0.7))[..., None]
    picture = picture * (1 + rng.uniform(-0.13, 0.13) * np.array([1.0, 0.1, -1.0]))
    picture = np.clip(picture * rng.uniform(0.7, 1.35), 0, 1) ** rng.uniform(0.85, 1.2)
    picture = _soft(picture, int(rng.integers(0, 3)))
    return picture + rng.uniform(0.005, 0.03) * grain(rng, size)[..., None]


def _shadow(shape: Field, offset: NDArray[np.int64], radius: int) -> Field:
    """The soft shadow of a silhouette, `offset` (rows, columns) of at most 5 pixels away."""
    down, right = (int(step) for step in offset)
    size = shape.shape[0]
    padded = np.pad(shape, 5)
    moved = padded[5 - down : 5 - down + size, 5 - right : 5 - right + size]
    return _soft(moved, radius)


def _soft(field: Field, radius: int) -> Field:
    """Three box blurs of `radius` pixels, close to a Gaussian; the rim repeats."""
    if radius == 0:
        return field
    width = 2 * radius + 1
    for _ in range(3):
        for axis in (0, 1):
            padding = [(radius + 1, radius) if a == axis else (0, 0) for a in range(field.ndim)]
            sums = np.cumsum(np.pad(field, padding, mode="edge"), axis=axis)
            size = sums.shape[axis]
            upper = np.take(sums, range(width, size), axis=axis)
            field = (upper - np.take(sums, range(size - width), axis=axis)) / width
    return field
