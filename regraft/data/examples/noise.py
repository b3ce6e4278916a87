"""Smooth random fields, the raw material of every drawn example picture.

Only uniform draws of an explicit generator and float64 arithmetic are used: the pictures are
compared byte by byte (`dvc status`), and other distributions may change between NumPy versions.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float64]


@lru_cache(maxsize=64)
def _spline_matrix(size: int, cells: int) -> Field:
    """Weights (size, cells + 3) of a uniform cubic B-spline with `cells` intervals."""
    position = (np.arange(size) + 0.5) / size * cells
    interval = position.astype(np.int64)
    t = position - interval
    weights = np.stack(
        [(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3]
    )
    matrix = np.zeros((size, cells + 3))
    rows = np.arange(size)
    for tap in range(4):
        matrix[rows, interval + tap] = weights[tap] / 6
    return matrix


def smooth_noise(rng: np.random.Generator, size: int, cells: int) -> Field:
    """One field (size, size), mean 0, mostly within -1..1, with about `cells` bumps a side."""
    matrix = _spline_matrix(size, cells)
    grid = rng.uniform(-1.0, 1.0, (cells + 3, cells + 3))
    smoothed: Field = matrix @ grid @ matrix.T
    return smoothed * 2.0  # the spline halves the spread of its control points


def fractal_noise(rng: np.random.Generator, size: int, cells: int, octaves: int = 3) -> Field:
    """Sum of `smooth_noise` with doubling frequency and halving weight, within about -1..1."""
    total = np.zeros((size, size))
    for octave in range(octaves):
        total += smooth_noise(rng, size, min(cells << octave, size)) / (1 << octave)
    return total / (2 - 0.5 ** (octaves - 1))


def grain(rng: np.random.Generator, size: int) -> Field:
    """Pixel-wise noise (size, size), mean 0, standard deviation 1, bell-shaped."""
    return (rng.random((3, size, size)).sum(axis=0) - 1.5) * 2.0


def smoothstep(low: float, high: float, values: Field) -> Field:
    """0 below `low`, 1 above `high`, a cubic ramp between."""
    t = np.clip((values - low) / (high - low), 0.0, 1.0)
    return t * t * (3 - 2 * t)


def stamp(field: Field, x: float, y: float, radius: float, edge: float = 1.0) -> None:
    """Draw a disc with a soft rim of `edge` pixels into `field` (in place, by maximum)."""
    size = field.shape[0]
    reach = int(radius + edge) + 2
    top, bottom = max(int(y) - reach, 0), min(int(y) + reach + 1, size)
    left, right = max(int(x) - reach, 0), min(int(x) + reach + 1, size)
    if top >= bottom or left >= right:
        return
    rows, columns = np.mgrid[top:bottom, left:right]
    distance = np.sqrt((columns - x) ** 2 + (rows - y) ** 2)
    disc = np.clip((radius - distance) / edge + 0.5, 0.0, 1.0)
    np.maximum(field[top:bottom, left:right], disc, out=field[top:bottom, left:right])


def blend(below: Field, above: Field, alpha: Field) -> Field:
    """Lay the colours `above` over `below` (size, size, 3) with opacity `alpha` (size, size)."""
    return below + (above - below) * alpha[..., None]


def to_bytes(colours: Field) -> NDArray[np.uint8]:
    """Colours in 0..1 as 8-bit values, rounded to the nearest."""
    return np.rint(np.clip(colours, 0.0, 1.0) * 255).astype(np.uint8)
