"""The geometry of one drawn leaf: where it is, how its surface runs, what it looks like healthy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from regraft.data.examples.noise import Field, blend, fractal_noise, grain, smooth_noise, smoothstep

# Dark, mid, light and yellowish green: healthy leaves differ more than a disease shifts the mean.
GREENS = np.array([[0.13, 0.28, 0.12], [0.25, 0.44, 0.17], [0.41, 0.58, 0.24], [0.55, 0.63, 0.28]])


@dataclass(frozen=True)
class Leaf:
    """Maps (size, size) over the picture; `along` runs 0..1 from base to tip."""

    along: Field
    side: Field  # -1..1: position between the left and the right margin
    inside: Field  # opacity, 1 on the blade
    margin: Field  # pixels to the margin, negative outside
    veins: Field  # 0..1, bright on midrib and side veins
    length: float  # pixels


def grow_leaf(
    rng: np.random.Generator,
    size: int,
    *,
    centre: tuple[float, float],
    length: float,
    angle: float,
) -> Leaf:
    """Place a leaf of random shape; `centre`, `length` in pixels, `angle` in radians (0: right)."""
    rows, columns = np.mgrid[0:size, 0:size].astype(np.float64)
    dx, dy = columns - centre[0], rows - centre[1]
    along = (dx * np.cos(angle) + dy * np.sin(angle)) / length + 0.5
    across = (dy * np.cos(angle) - dx * np.sin(angle)) / length
    clipped = np.clip(along, 0.0, 1.0)
    across = across - rng.uniform(-0.2, 0.2) * 4 * clipped * (1 - clipped)
    half_width = _half_width(rng, clipped)
    margin = (half_width - np.abs(across)) * length
    margin = np.where((along < 0) | (along > 1), -np.abs(margin) - 1, margin)
    petiole = (along > -0.16) & (along <= 0.04) & (np.abs(across) * length < 1.3)
    inside = np.maximum(np.clip(margin + 0.5, 0, 1), petiole * 0.9)
    side = np.clip(across / np.maximum(half_width, 1e-3), -1.5, 1.5)
    return Leaf(along, side, inside, margin, _veins(rng, along, across, length), length)


def _half_width(rng: np.random.Generator, along: Field) -> Field:
    """Distance from midrib to margin as a fraction of the length."""
    base, tip = rng.uniform(0.35, 0.9), rng.uniform(0.5, 1.3)
    profile = along**base * (1 - along) ** tip
    peak = base / (base + tip)
    profile = profile / (peak**base * (1 - peak) ** tip)
    width = rng.uniform(0.19, 0.38) * profile
    teeth, lobes = rng.integers(10, 26), rng.uniform(1.5, 4.0)
    width = width * (1 + rng.uniform(0.0, 0.13) * ((along * teeth) % 1.0 - 0.5))
    wave: Field = width * (1 + rng.uniform(0.0, 0.1) * np.sin(2 * np.pi * lobes * along))
    return wave


def _veins(rng: np.random.Generator, along: Field, across: Field, length: float) -> Field:
    count = rng.uniform(6, 11)
    slope, curve = rng.uniform(0.5, 1.1), rng.uniform(0.0, 1.5)
    phase = (along - slope * np.abs(across) - curve * across**2) * count
    phase = phase + 0.5 * rng.uniform(0, 1) * (across > 0)
    distance = np.abs(phase % 1.0 - 0.5) / count * length
    fading = np.clip(1.2 - 3.0 * np.abs(across), 0.2, 1.0)
    side_veins = 0.7 * fading * np.exp(-((distance / 0.9) ** 2))
    taper = 0.8 + 1.2 * np.clip(1 - along, 0, 1)
    midrib = np.exp(-((across * length / taper) ** 2))
    return np.maximum(side_veins, midrib)


def healthy_surface(rng: np.random.Generator, leaf: Leaf) -> Field:
    """Colours (size, size, 3) of a leaf without disease, but with the wear that any leaf shows."""
    size = leaf.along.shape[0]
    tone = rng.uniform(0.0, len(GREENS) - 1.3)
    lower = int(tone)
    green = GREENS[lower] + (GREENS[lower + 1] - GREENS[lower]) * (tone - lower)
    green = green + rng.uniform(-0.035, 0.035, 3)
    colours = np.broadcast_to(green, (size, size, 3)) * np.ones((size, size, 1))
    vein_colour = green * 0.55 + np.array([0.40, 0.45, 0.25]) * rng.uniform(0.4, 1.0)
    colours = blend(colours, vein_colour[None, None], leaf.veins * rng.uniform(0.25, 0.7))
    colours = _senescence(rng, leaf, colours)
    tilt = rng.uniform(-0.16, 0.16) * np.tanh(leaf.side * 4)
    puckering = rng.uniform(0.0, 0.10) * leaf.veins
    light = 1 + tilt - puckering + 0.10 * fractal_noise(rng, size, 5, 3)
    light = light + rng.uniform(0.01, 0.05) * grain(rng, size)
    return _specks(rng, leaf, _glare(rng, leaf, colours * light[..., None]))


def _senescence(rng: np.random.Generator, leaf: Leaf, colours: Field) -> Field:
    """Yellowing or browning of tip or margin, as on any ageing leaf."""
    if rng.random() > 0.35:
        return colours
    reach = rng.uniform(0.03, 0.10) * leaf.length
    rim = np.clip(1 - leaf.margin / reach, 0, 1) * smoothstep(0.3, 0.9, leaf.along)
    rim = rim * np.clip(0.6 + 0.6 * smooth_noise(rng, leaf.along.shape[0], 5), 0, 1)
    dry = np.array([0.62, 0.56, 0.26]) - rng.uniform(0, 0.18, 3)
    return blend(colours, dry[None, None], rim * rng.uniform(0.3, 0.9))


def _glare(rng: np.random.Generator, leaf: Leaf, colours: Field) -> Field:
    """A whitish reflection along one half: easily taken for mildew by its colour alone."""
    if rng.random() > 0.4:
        return colours
    centre = rng.uniform(-0.6, 0.6)
    streak = np.exp(-(((leaf.side - centre) / rng.uniform(0.12, 0.3)) ** 2))
    streak = streak * np.clip(0.4 + 0.8 * smooth_noise(rng, leaf.along.shape[0], 4), 0, 1)
    streak = streak * (1 - 0.6 * leaf.veins)
    return blend(colours, np.array([[[0.86, 0.91, 0.88]]]), streak * rng.uniform(0.15, 0.5))


def _specks(rng: np.random.Generator, leaf: Leaf, colours: Field) -> Field:
    """A few dark specks of soil or insect bites."""
    if rng.random() > 0.5:
        return colours
    size = leaf.along.shape[0]
    rows, columns = np.mgrid[0:size, 0:size]
    for _ in range(int(rng.integers(1, 7))):
        x, y = rng.uniform(0.15 * size, 0.85 * size, 2)
        distance = np.sqrt((columns - x) ** 2 + (rows - y) ** 2)
        dot = np.clip(rng.uniform(0.6, 1.8) - distance + 0.5, 0, 1) * rng.uniform(0.4, 0.9)
        colours = blend(colours, rng.uniform(0.08, 0.3, 3)[None, None], dot)
    return colours
