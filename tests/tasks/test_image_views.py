"""Views are a function of (seed, image, view): rendered again, they are the same."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from regraft.backbones.preprocessing import Preprocessing
from regraft.recipe.augmentation import AugmentationOptions
from regraft.tasks.image_views import ImageViews, ServedViews, views_of

SIZE = 32


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for index in range(3):
        small = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
        Image.fromarray(small).resize((80, 60)).save(folder / f"{index}.png")
    return [str(path) for path in sorted(folder.iterdir())]


@pytest.fixture(scope="module")
def preprocessing() -> Preprocessing:
    return Preprocessing(image_size=SIZE, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25),
                         interpolation="bilinear")  # fmt: skip


def views(paths: list[str], how: Preprocessing, *, seed: int = 0, **changes: Any) -> ImageViews:
    return ImageViews(paths, how, AugmentationOptions(**changes).model_dump(), seed=seed)


def test_view_zero_is_the_image_as_the_network_expects_it(
    paths: list[str], preprocessing: Preprocessing
) -> None:
    found = views(paths, preprocessing).pixels(0, 0)
    assert found.shape == (SIZE, SIZE, 3)
    clean = np.asarray(preprocessing.resized(Image.open(paths[0])))
    assert np.array_equal(found, clean)


def test_a_view_rendered_again_is_the_same(paths: list[str], preprocessing: Preprocessing) -> None:
    one, two = views(paths, preprocessing), views(paths, preprocessing)
    two.pixels(1, 5)  # what was rendered before does not matter
    torch.manual_seed(99)
    for index in range(3):
        assert np.array_equal(one.pixels(index, 3), two.pixels(index, 3))


def test_rendering_leaves_the_global_generator_alone(
    paths: list[str], preprocessing: Preprocessing
) -> None:
    state = torch.get_rng_state()
    views(paths, preprocessing, randaugment_magnitude=5).pixels(0, 1)
    assert torch.equal(torch.get_rng_state(), state)


def test_views_images_and_seeds_differ(paths: list[str], preprocessing: Preprocessing) -> None:
    plain = views(paths, preprocessing)
    other = views(paths, preprocessing, seed=1)
    found = [plain.pixels(0, 0), plain.pixels(0, 1), plain.pixels(0, 2), other.pixels(0, 1),
             plain.pixels(1, 1)]  # fmt: skip
    for i, a in enumerate(found):
        for b in found[i + 1 :]:
            assert not np.array_equal(a, b)


def test_a_view_follows_its_image_not_its_place(
    paths: list[str], preprocessing: Preprocessing
) -> None:
    """More or fewer images, or another order, change no view."""
    straight, turned = views(paths, preprocessing), views(paths[::-1], preprocessing)
    assert np.array_equal(straight.pixels(0, 2), turned.pixels(2, 2))


def test_a_view_follows_the_content_of_its_file_not_its_path(
    paths: list[str], preprocessing: Preprocessing, tmp_path: Path
) -> None:
    """The same data trains the same in a container, where they lie in another folder."""
    copies = [shutil.copy(path, tmp_path / f"other {Path(path).name}") for path in paths]
    here, there = views(paths, preprocessing), views(list(map(str, copies)), preprocessing)
    assert np.array_equal(here.pixels(1, 3), there.pixels(1, 3))
    assert here.fingerprint == there.fingerprint


def test_everything_switched_off_is_the_clean_image(
    paths: list[str], preprocessing: Preprocessing
) -> None:
    off = views(paths, preprocessing, min_crop=1, flips=False, colour_jitter=0)
    difference = np.abs(off.pixels(0, 4).astype(int) - off.pixels(0, 0).astype(int))
    assert difference.max() <= 1


def test_a_batch_is_normalised_and_in_order(paths: list[str], preprocessing: Preprocessing) -> None:
    batch = views(paths, preprocessing).batch(np.array([2, 0]), np.array([0, 1]))
    assert batch.shape == (2, 3, SIZE, SIZE)
    assert batch.dtype == torch.float32
    pixels = views(paths, preprocessing).pixels(2, 0).astype(np.float32) / 255
    expected = torch.from_numpy((pixels - 0.5) / 0.25).permute(2, 0, 1)
    assert torch.allclose(batch[0], expected, atol=1e-5)


@pytest.mark.parametrize("count", [1, 2, 4, 8])
def test_flip_views_are_distinct_symmetries_beginning_with_the_image(count: int) -> None:
    x = torch.arange(3 * 4 * 4, dtype=torch.float32).reshape(1, 3, 4, 4)
    found = views_of(x, count, 1.0)
    assert len(found) == count
    assert torch.equal(found[0], x)
    assert len({tuple(view.flatten().tolist()) for view in found}) == count
    for view in found:
        assert view.shape == x.shape
        assert torch.equal(view.flatten(2).sort().values, x.flatten(2).sort().values)


def test_the_second_view_is_the_mirror_image() -> None:
    x = torch.randn(2, 3, 4, 4)
    assert torch.equal(views_of(x, 2, 1.0)[1], x.flip(3))


def test_every_second_view_looks_closer() -> None:
    x = torch.zeros(1, 3, 40, 40)
    x[:, :, 6:34, 6:34] = 1  # the middle 70 % of the sides, with a mark on the left
    x[:, :, 18:22, 8:12] = 5
    found = views_of(x, 4, 0.7)
    assert torch.equal(found[0], x)
    assert torch.equal(found[2], x.flip(2))
    assert found[1].shape == x.shape
    assert float(found[1].min()) > -0.5  # the black margin is out of sight, but for overshoot
    assert float((found[1][0, 0] > 0.5).float().mean()) == 1
    row, column = divmod(int(found[1][0, 0].argmax()), 40)
    assert 14 < row < 26 and column > 28  # mirrored, and larger than in the picture
    assert int((found[1][0, 0] > 3).sum()) > int((x[0, 0] > 3).sum())


def test_served_views_are_what_a_classifier_averages(
    paths: list[str], preprocessing: Preprocessing
) -> None:
    own = views(paths, preprocessing)
    served = ServedViews(own, count=2, closer_share=0.7)
    indices = np.array([1, 0, 1])
    plain = own.batch(indices, np.zeros(3, int))
    expected = views_of(plain, 2, 0.7)
    for view in (0, 1):
        assert torch.equal(served.batch(indices, np.full(3, view)), expected[view])
    mixed = served.batch(indices, np.array([1, 0, 0]))
    assert torch.equal(mixed, torch.stack([expected[1][0], *expected[0][1:]]))
    assert served.fingerprint != ServedViews(own, count=2, closer_share=1.0).fingerprint
    assert served.at_size(32).batch(indices, np.ones(3, int)).shape[-1] == 32
