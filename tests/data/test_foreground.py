"""Foreground: found on plain backgrounds whatever the object is, refused on others."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw

from regraft.data.examples.leaves import CLASSES, draw_leaf
from regraft.data.foreground import LARGEST, PLAIN_SPREAD, SMALLEST, foreground_of, rgb_to_lab

Colour = tuple[int, int, int]
BACKGROUNDS: dict[str, Colour] = {
    "black": (0, 0, 0),
    "white": (255, 255, 255),
    "grey": (140, 138, 142),
    "red cloth": (150, 30, 35),
}
OBJECTS: dict[str, Colour] = {
    "green": (40, 120, 40),
    "yellow": (220, 200, 40),
    "blue": (30, 60, 200),
    "brown": (110, 70, 30),
}


def photo(
    background: Colour, colour: Colour, box: tuple[float, ...], *, size: int = 200,
    shape: str = "ellipse", noise: float = 5,
) -> tuple[Image.Image, np.ndarray]:  # fmt: skip
    """A shape in a box (left, top, right, bottom, in sides of the picture) and its true mask."""
    truth = Image.new("L", (size, size))
    getattr(ImageDraw.Draw(truth), shape)([int(edge * size) for edge in box], fill=255)
    mask = np.asarray(truth) > 0
    picture = np.where(mask[..., None], colour, background) + np.random.default_rng(0).normal(
        0, noise, (size, size, 3)
    )
    return Image.fromarray(picture.clip(0, 255).astype(np.uint8)), mask


def overlap(found: np.ndarray | None, truth: np.ndarray) -> float:
    """Intersection over union."""
    assert found is not None
    assert found.shape == truth.shape
    assert found.dtype == bool
    return float((found & truth).sum() / (found | truth).sum())


@pytest.mark.parametrize("background", BACKGROUNDS)
@pytest.mark.parametrize("colour", OBJECTS)
def test_an_object_is_found_on_a_plain_background(background: str, colour: str) -> None:
    image, truth = photo(BACKGROUNDS[background], OBJECTS[colour], (0.25, 0.2, 0.7, 0.9))
    assert overlap(foreground_of(image).mask, truth) > 0.9


@pytest.mark.parametrize("size", [32, 96, 300, 700])
def test_the_size_of_the_photo_does_not_matter(size: int) -> None:
    image, truth = photo((230, 230, 230), (40, 120, 40), (0.25, 0.2, 0.7, 0.9), size=size)
    assert overlap(foreground_of(image).mask, truth) > 0.85


def test_a_wide_photo_keeps_its_shape() -> None:
    image, truth = photo((230, 230, 230), (40, 120, 40), (0.25, 0.4, 0.7, 0.9), size=300)
    wide = image.crop((0, 100, 300, 300))
    assert overlap(foreground_of(wide).mask, truth[100:]) > 0.9


def test_a_thin_object_is_found() -> None:
    image, truth = photo((235, 235, 235), (40, 120, 40), (0.46, 0.05, 0.54, 0.95))
    assert overlap(foreground_of(image).mask, truth) > 0.7


@pytest.mark.parametrize(
    "box", [(0.49, 0.1, 0.5, 0.9), (0.45, 0.45, 0.55, 0.55), (0.02, 0.02, 0.98, 0.98)]
)
def test_a_hair_a_crumb_and_a_wall_are_no_objects(box: tuple[float, ...]) -> None:
    image, truth = photo((235, 235, 235), (40, 120, 40), box, shape="rectangle")
    assert not SMALLEST < truth.mean() < LARGEST
    assert foreground_of(image).mask is None


def test_a_huge_object_that_leaves_the_photo_is_found() -> None:
    image, truth = photo((0, 0, 0), (40, 120, 40), (0.15, 0.1, 1.4, 0.95))
    assert overlap(foreground_of(image).mask, truth) > 0.9


def test_holes_are_part_of_the_object_and_crumbs_are_not() -> None:
    image, _ = photo((235, 235, 235), (40, 120, 40), (0.25, 0.2, 0.7, 0.9))
    drawing = ImageDraw.Draw(image)
    drawing.ellipse([90, 90, 110, 110], fill=(235, 235, 235))
    drawing.ellipse([5, 5, 25, 25], fill=(40, 120, 40))
    found = foreground_of(image).mask
    assert found is not None
    assert found[100, 100]
    assert not found[15, 15]


def test_a_shadow_is_no_object() -> None:
    image, truth = photo((200, 200, 200), (40, 120, 40), (0.3, 0.2, 0.65, 0.8))
    picture = np.asarray(image).copy()
    shadow = np.roll(truth, 16, axis=1) & ~truth
    picture[shadow] = (120, 120, 120)
    found = foreground_of(Image.fromarray(picture)).mask
    assert found is not None
    assert found[shadow].mean() < 0.3


def test_uneven_light_alone_is_no_object() -> None:
    rows, columns = np.mgrid[-1:1:200j, -1:1:200j]
    light = 210 - 50 * np.hypot(rows, columns)
    picture = np.repeat(light[..., None], 3, 2).astype(np.uint8)
    assert foreground_of(Image.fromarray(picture)).mask is None


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (90, 140, 60)])
@pytest.mark.parametrize("noise", [0.0, 8.0])
def test_an_empty_photo_has_no_object(colour: Colour, noise: float) -> None:
    image, _ = photo(colour, colour, (0.3, 0.3, 0.6, 0.6), noise=noise)
    found = foreground_of(image)
    assert found.mask is None
    assert found.border_spread < PLAIN_SPREAD


def busy(kind: str) -> Image.Image:
    """Borders that are not plain, in colour and in lightness alone."""
    rows, columns = np.mgrid[0:200, 0:200]
    field = {
        "stripes": (columns // 20) % 2,
        "checkers": (rows // 25 + columns // 25) % 2,
        "patches": np.kron(np.random.default_rng(0).integers(0, 2, (10, 10)), np.ones((20, 20))),
    }[kind.split()[0]]
    pair = {"colour": ((40, 120, 40), (150, 100, 60)), "light": ((0, 0, 0), (255, 255, 255))}
    one, other = pair[kind.split()[1]]
    picture = np.where(field[..., None] > 0, one, other).astype(np.uint8)
    image = Image.fromarray(picture)
    ImageDraw.Draw(image).ellipse([60, 60, 150, 150], fill=(200, 30, 30))
    return image


@pytest.mark.parametrize("what", ["stripes", "checkers", "patches"])
@pytest.mark.parametrize("how", ["colour", "light"])
def test_a_photo_whose_border_is_not_plain_is_left_alone(what: str, how: str) -> None:
    assert foreground_of(busy(f"{what} {how}")).mask is None


def test_the_spread_tells_a_plain_border_from_a_busy_one() -> None:
    plain, _ = photo((150, 30, 35), (40, 120, 40), (0.25, 0.2, 0.7, 0.9))
    assert foreground_of(plain).border_spread < PLAIN_SPREAD
    assert foreground_of(busy("stripes colour")).border_spread > PLAIN_SPREAD


def test_leaves_from_the_laboratory_are_found_and_those_from_the_field_are_not() -> None:
    """Of the example data, whose scenes were drawn without knowing this method."""
    found = {
        domain: np.mean(
            [
                foreground_of(Image.fromarray(draw_leaf(domain, label, i))).mask is not None
                for label in CLASSES
                for i in range(4)
            ]
        )
        for domain in ("lab", "field")
    }
    assert found["lab"] > 0.8
    assert found["field"] < 0.2


def test_lab_of_known_colours() -> None:
    """Reference values of the sRGB primaries (Lindbloom)."""
    colours = np.array([[255, 255, 255], [0, 0, 0], [255, 0, 0], [0, 255, 0], [0, 0, 255]])
    expected = [
        [100, 0, 0],
        [0, 0, 0],
        [53.2, 80.1, 67.2],
        [87.7, -86.2, 83.2],
        [32.3, 79.2, -107.9],
    ]
    assert np.allclose(rgb_to_lab(colours.astype(np.uint8)), expected, atol=0.2)


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (300, 3), (3, 300)])
def test_photos_of_a_few_pixels(size: tuple[int, int]) -> None:
    assert foreground_of(Image.new("RGB", size, "green")).mask is None
