"""Each statistic moves with what it is named after, and little with anything else."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageFilter

from regraft.data.examples.leaves import draw_leaf
from regraft.data.image_statistics import image_statistics


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    return Image.fromarray(draw_leaf("field", "healthy", 3)).resize((400, 300))


@pytest.mark.parametrize(
    ("name", "less"),
    [
        ("brightness", lambda p: ImageEnhance.Brightness(p).enhance(0.6)),
        ("contrast", lambda p: ImageEnhance.Contrast(p).enhance(0.5)),
        ("saturation", lambda p: ImageEnhance.Color(p).enhance(0.3)),
        ("sharpness", lambda p: p.filter(ImageFilter.GaussianBlur(4))),
    ],
)
def test_a_statistic_falls_with_what_it_names(
    name: str, less: Callable[[Image.Image], Image.Image], photo: Image.Image
) -> None:
    assert image_statistics(less(photo))[name] < 0.8 * image_statistics(photo)[name]


def test_the_size_is_told_and_changes_little_else(photo: Image.Image) -> None:
    small, large = image_statistics(photo), image_statistics(photo.resize((1600, 1200)))
    assert (large["width"], large["height"]) == (1600, 1200)
    for name in ("brightness", "contrast", "saturation"):
        assert large[name] == pytest.approx(small[name], rel=0.03)
    assert large["sharpness"] == pytest.approx(small["sharpness"], rel=0.25)


def test_known_values() -> None:
    red = image_statistics(Image.new("RGB", (50, 20), (255, 0, 0)))
    assert red == {
        "width": 50, "height": 20, "brightness": pytest.approx(0.299, abs=0.003), "contrast": 0,
        "saturation": 1, "sharpness": 0,
    }  # fmt: skip
    board = np.zeros((20, 20, 3), np.uint8)
    board[::2] = 255  # every other line: the Laplacian of a white one is -2, of a black one 2
    assert image_statistics(Image.fromarray(board))["sharpness"] == pytest.approx(2, abs=0.01)


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (5000, 1), (2, 2)])
def test_the_smallest_pictures_have_statistics(size: tuple[int, int]) -> None:
    found = image_statistics(Image.new("RGB", size, "black"))
    assert all(np.isfinite(value) for value in found.values())
    assert found["sharpness"] == 0


def test_the_picture_stays_as_it_is(photo: Image.Image) -> None:
    before = photo.tobytes()
    assert image_statistics(photo) == image_statistics(photo)
    assert photo.tobytes() == before
