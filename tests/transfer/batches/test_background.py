"""Background replacement: the object stays, what is round it comes from the other photo."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from regraft.data.foreground import rgb_to_lab
from regraft.transfer.batches.background import composite, lab_to_rgb, match_colours

RED, BLUE, GREY = (200, 30, 30), (20, 40, 180), (150, 150, 150)


def object_on(background: tuple[int, int, int] = GREY) -> tuple[Image.Image, np.ndarray]:
    """A red square of 40 in a picture of 100."""
    picture = np.full((100, 100, 3), background, np.uint8)
    mask = np.zeros((100, 100), bool)
    mask[30:70, 30:70] = True
    picture[mask] = RED
    return Image.fromarray(picture), mask


def scene(width: int = 120, height: int = 90) -> Image.Image:
    noise = np.random.default_rng(0).integers(-15, 15, (height, width, 3))
    return Image.fromarray((np.array(BLUE) + noise).clip(0, 255).astype(np.uint8))


def near(picture: Image.Image, colour: tuple[int, int, int], within: float = 45) -> np.ndarray:
    difference = np.asarray(picture).astype(float) - colour
    near_it: np.ndarray = np.linalg.norm(difference, axis=-1) < within
    return near_it


@pytest.mark.parametrize("seed", range(6))
def test_object_and_scene_are_there_and_the_old_background_is_not(seed: int) -> None:
    image, mask = object_on()
    found = composite(image, mask, scene(), np.random.default_rng(seed), 96)
    assert found.size == (96, 96)
    assert found.mode == "RGB"
    assert near(found, RED).mean() > 0.05
    assert near(found, GREY).mean() < 0.01
    assert near(found, RED).mean() + near(found, BLUE).mean() > 0.9


def test_it_is_a_function_of_its_generator_and_changes_no_input() -> None:
    image, mask = object_on()
    before = np.asarray(image).copy()
    found = [
        np.asarray(composite(image, mask, scene(), np.random.default_rng(s), 64)) for s in (1, 1, 2)
    ]
    assert np.array_equal(found[0], found[1])
    assert not np.array_equal(found[0], found[2])
    assert np.array_equal(np.asarray(image), before)


def test_the_size_of_the_object_follows_the_scale() -> None:
    image, mask = object_on()
    shares = [
        near(
            composite(image, mask, scene(), np.random.default_rng(0), 100,
                      scale=(length, length), rotation=0.0),
            RED,
        ).mean()
        for length in (0.2, 0.4, 0.6)
    ]  # fmt: skip
    assert shares == pytest.approx([0.04, 0.16, 0.36], rel=0.15)


def test_the_object_is_turned() -> None:
    picture, mask = np.full((80, 80, 3), GREY, np.uint8), np.zeros((80, 80), bool)
    mask[38:42, 10:70] = True
    picture[mask] = RED
    upright = 0
    for seed in range(10):
        found = composite(
            Image.fromarray(picture), mask, scene(), np.random.default_rng(seed), 64,
            scale=(0.6, 0.6),
        )  # fmt: skip
        ys, xs = np.nonzero(near(found, RED, within=90))
        upright += np.ptp(ys) > np.ptp(xs)
    assert 0 < upright < 10


@pytest.mark.parametrize("shape", [(3, 90), (90, 3), (1, 1), (100, 100)])
def test_thin_tiny_and_whole_masks(shape: tuple[int, int]) -> None:
    image, _ = object_on()
    mask = np.zeros((100, 100), bool)
    mask[: shape[0], : shape[1]] = True
    for seed in range(5):
        composite(image, mask, scene(5, 300), np.random.default_rng(seed), 48, colour_strength=1)


def test_colours_move_by_their_strength() -> None:
    image, mask = object_on()
    noisy = np.array(image).astype(int) + np.random.default_rng(1).integers(-20, 20, (100, 100, 3))
    image = Image.fromarray(noisy.clip(0, 255).astype(np.uint8))
    mean = [
        rgb_to_lab(np.asarray(match_colours(image, mask, scene(), strength)))[mask].mean(0)
        for strength in (0.0, 0.5, 1.0)
    ]
    wanted = rgb_to_lab(np.asarray(scene())).reshape(-1, 3).mean(0)
    assert mean[2] == pytest.approx(wanted, abs=2)
    assert mean[1] == pytest.approx((mean[0] + mean[2]) / 2, abs=3)
    assert np.linalg.norm(mean[0] - wanted) > 30


def test_colours_take_the_contrast_of_the_scene_and_nothing_else_moves() -> None:
    image, mask = object_on()
    noisy = np.array(image).astype(int) + np.random.default_rng(1).integers(-60, 60, (100, 100, 3))
    image = Image.fromarray(noisy.clip(0, 255).astype(np.uint8))
    found = match_colours(image, mask, scene(), 1.0)
    lab = rgb_to_lab(np.asarray(found))
    wanted = rgb_to_lab(np.asarray(scene())).reshape(-1, 3).std(0)
    assert lab[mask].std(0) == pytest.approx(wanted, rel=0.3)
    assert np.array_equal(np.asarray(found)[~mask], np.asarray(image)[~mask])


def test_a_foreground_of_one_colour_becomes_no_noise() -> None:
    image, mask = object_on()
    found = np.asarray(match_colours(image, mask, scene(), 1.0))[mask]
    assert np.ptp(found, axis=0).max() == 0


def test_lab_and_back_is_the_identity() -> None:
    grid = np.stack(np.meshgrid(*[np.arange(0, 256, 15)] * 3), -1).astype(np.uint8)
    assert np.abs(lab_to_rgb(rgb_to_lab(grid)).astype(int) - grid).max() <= 1


def test_a_composite_with_colours_differs_from_one_without() -> None:
    image, mask = object_on()
    found = [
        near(composite(image, mask, scene(), np.random.default_rng(0), 64, colour_strength=s), RED)
        for s in (0.0, 1.0)
    ]
    assert found[0].mean() > 0.05
    assert found[1].mean() < 0.01
