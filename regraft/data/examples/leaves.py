"""Example leaf photographs: five classes in two domains, drawn from a seed.

The pictures stand in for real ones where nothing but the package index can be reached. They are
made so that the mean colour does not give the class away and that a model trained in the
laboratory loses accuracy in the field.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from regraft.data.examples.leaf_diseases import DISEASES
from regraft.data.examples.leaf_scenes import SCENES
from regraft.data.examples.noise import to_bytes
from regraft.data.files import write_if_different
from regraft.errors import UserError

CLASSES = tuple(DISEASES)
DOMAINS = tuple(SCENES)
IMAGE_SIZE = 128


def draw_leaf(
    domain: str, label: str, index: int, *, seed: int = 0, size: int = IMAGE_SIZE
) -> NDArray[np.uint8]:
    """Picture number `index` of a class, (size, size, 3) in 0..255; same arguments, same pixels.

    Raises `UserError` for an unknown domain or class.
    """
    for name, known in ((domain, DOMAINS), (label, CLASSES)):
        if name not in known:
            raise UserError("unknown kind of leaf picture", got=name, expected=" or ".join(known))
    rng = np.random.default_rng([seed, DOMAINS.index(domain), CLASSES.index(label), index])
    return to_bytes(SCENES[domain](rng, size, DISEASES[label]))


def leaf_images(
    domain: str, *, per_class: int, seed: int = 0, size: int = IMAGE_SIZE
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Pictures (5 * per_class, size, size, 3), class by class, and labels (n,) into `CLASSES`."""
    pixels = [
        draw_leaf(domain, label, index, seed=seed, size=size)
        for label in CLASSES
        for index in range(per_class)
    ]
    return np.stack(pixels), np.repeat(np.arange(len(CLASSES)), per_class)


def generate_leaves(
    root: Path | str,
    *,
    seed: int = 0,
    lab_per_class: int = 60,
    field_per_class: int = 40,
    size: int = IMAGE_SIZE,
) -> int:
    """Write `root/<domain>/<class>/<number>.jpg` where missing or different.

    Returns the number of files written. Other files under `root` stay as they are.
    """
    files = _files(seed, {"lab": lab_per_class, "field": field_per_class}, size)
    return sum(write_if_different(Path(root) / name, content) for name, content in files)


def _files(seed: int, per_class: dict[str, int], size: int) -> Iterator[tuple[str, bytes]]:
    for domain, count in per_class.items():
        for label in CLASSES:
            for index in range(count):
                pixels = draw_leaf(domain, label, index, seed=seed, size=size)
                yield f"{domain}/{label}/{index:03d}.jpg", _jpeg(pixels)


def _jpeg(pixels: NDArray[np.uint8]) -> bytes:
    """JPEG, because libjpeg's integer transform gives the same bytes on every processor, which
    the bundled deflate of PNG does not promise, and because noise makes PNG six times larger."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="JPEG", quality=90, subsampling=0)
    return buffer.getvalue()
