"""Small photos with structure, so that no two are near-duplicates by chance."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

Photo = Callable[..., Image.Image]
PhotoFolder = Callable[..., Path]


def make_photo(seed: int, size: tuple[int, int] = (64, 48)) -> Image.Image:
    """A smooth random picture: unlike noise, it survives JPEG and resizing."""
    coarse = np.random.default_rng(seed).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


@pytest.fixture
def photo() -> Photo:
    return make_photo


@pytest.fixture
def photo_folder(tmp_path: Path) -> PhotoFolder:
    """Make root/<class>/NNN.jpg with the given number of different photos per class."""

    def make(counts: dict[str, int], *, name: str = "photos", first_seed: int = 0) -> Path:
        seed = first_seed
        for label, count in counts.items():
            folder = tmp_path / name / label
            folder.mkdir(parents=True)
            for number in range(count):
                make_photo(seed).save(folder / f"{number:03}.jpg", quality=90)
                seed += 1
        return tmp_path / name

    return make


@pytest.fixture
def not_root() -> None:
    if os.geteuid() == 0:
        pytest.skip("root reads everything: permission bits do not apply")
