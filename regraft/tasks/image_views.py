"""Training views of images as a deterministic function of (seed, image, view number).

View 0 is the image as the network expects it; view v > 0 is an augmented one. Because a view can
be rendered again at any time, whether its activations are cached, where a run was killed, and how
many processes share the work make no difference to what is trained on.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL.Image import Image
from torch import nn
from torchvision.transforms import v2

from regraft.backbones.layout import channels_last
from regraft.backbones.preprocessing import Preprocessing
from regraft.data.images import open_rgb


class ImageViews:
    """Views of a list of image files.

    `augmentation` are the fields of the recipe's augmentation section, `contents` digests of the
    files (read from them if not given).
    """

    def __init__(
        self,
        paths: list[str],
        preprocessing: Preprocessing,
        augmentation: dict[str, Any],
        *,
        seed: int,
        contents: list[str] | None = None,
    ) -> None:
        self.paths = paths
        self.preprocessing = preprocessing
        self.augmentation = augmentation
        self.seed = seed
        self._contents = contents
        self._last: tuple[int, Image] | None = None
        of_images = {name: augmentation[name] for name in _UNCHANGED}
        self._augment = _augmentation(preprocessing, **of_images)

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def fingerprint(self) -> str:
        """Digest of everything that the pixels of a view depend on."""
        options = [asdict(self.preprocessing), self.augmentation, self.seed]
        text = json.dumps([self.contents, *options], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def contents(self) -> list[str]:
        """Digests of the files: what tells images apart, wherever they lie."""
        if self._contents is None:
            files = [Path(path).read_bytes() for path in self.paths]
            self._contents = [hashlib.sha256(file).hexdigest() for file in files]
        return self._contents

    def at_size(self, image_size: int) -> ImageViews:
        """The same views for another size of the network's input."""
        how = replace(self.preprocessing, image_size=image_size)
        return ImageViews(
            self.paths, how, self.augmentation, seed=self.seed, contents=self._contents
        )

    def pixels(self, index: int, view: int) -> np.ndarray:
        """uint8 (size, size, 3)."""
        image = self._image(index)
        if view == 0:
            return np.asarray(self.preprocessing.resized(image), dtype=np.uint8)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self._view_seed(index, view))
            return np.asarray(self._augment(image), dtype=np.uint8)

    def _image(self, index: int) -> Image:
        """The last one is kept: several views of one photo come one after the other, and decoding
        a photo costs more than a view of it."""
        if self._last is None or self._last[0] != index:
            self._last = (index, self._opened(self.paths[index]))
        return self._last[1]

    def _opened(self, path: str) -> Image:
        return open_rgb(path)

    def batch(self, indices: np.ndarray, views: np.ndarray) -> torch.Tensor:
        """Normalised images (n, 3, size, size)."""
        pixels = [self.pixels(int(i), int(v)) for i, v in zip(indices, views, strict=True)]
        return self.preprocessing.normalise(torch.from_numpy(np.stack(pixels)))

    def _view_seed(self, index: int, view: int) -> int:
        text = f"{self.seed}/{self.contents[index]}/{view}".encode()
        return int.from_bytes(hashlib.sha256(text).digest()[:8], "big") >> 1


class ComposedViews(ImageViews):
    """Views made by `compose(photo number, photo, rng, side)` instead of an augmentation."""

    def __init__(
        self,
        paths: list[str],
        preprocessing: Preprocessing,
        compose: Callable[[int, Image, np.random.Generator, int], Image],
        *,
        seed: int,
        contents: list[str] | None = None,
    ) -> None:
        super().__init__(paths, preprocessing, _UNCHANGED, seed=seed, contents=contents)
        self._compose = compose

    def pixels(self, index: int, view: int) -> np.ndarray:
        """uint8 (size, size, 3)."""
        if view == 0:
            return super().pixels(index, view)
        rng = np.random.default_rng(self._view_seed(index, view))
        size = self.preprocessing.image_size
        return np.asarray(self._compose(index, self._image(index), rng, size), dtype=np.uint8)


class ServedViews:
    """The test views of the same images: what a served model answers from."""

    def __init__(self, views: ImageViews, *, count: int, closer_share: float) -> None:
        self.views, self.count, self.closer_share = views, count, closer_share

    def __len__(self) -> int:
        return len(self.views)

    @property
    def fingerprint(self) -> str:
        """Digest of everything that the pixels of a view depend on."""
        return f"{self.views.fingerprint} served {self.count} {self.closer_share}"

    def at_size(self, image_size: int) -> ServedViews:
        """The same views for another size of the network's input."""
        own = self.views.at_size(image_size)
        return ServedViews(own, count=self.count, closer_share=self.closer_share)

    def batch(self, indices: np.ndarray, views: np.ndarray) -> torch.Tensor:
        """Normalised images (n, 3, size, size); view v is the v-th test view."""
        plain = self.views.batch(indices, 0 * views)
        found = torch.stack(views_of(plain, self.count, self.closer_share))
        return found[torch.from_numpy(views), torch.arange(len(plain))]


_UNCHANGED = {
    "min_crop": 1.0,
    "flips": False,
    "colour_jitter": 0.0,
    "randaugment_magnitude": 0,
}


def _augmentation(
    preprocessing: Preprocessing,
    *,
    min_crop: float,
    flips: bool,
    colour_jitter: float,
    randaugment_magnitude: int,
) -> v2.Compose:
    size = preprocessing.image_size
    method = v2.InterpolationMode(preprocessing.interpolation)
    # a crop of the whole area at ratio 1 is the plain resize of view 0
    steps: list[Any] = [
        v2.RandomResizedCrop(size, scale=(min_crop, 1.0), ratio=(0.8, 1.25), interpolation=method)
        if min_crop < 1
        else v2.Resize((size, size), interpolation=method)
    ]
    if flips:
        steps += [v2.RandomHorizontalFlip(), v2.RandomVerticalFlip()]
    if colour_jitter:
        steps.append(v2.ColorJitter(colour_jitter, colour_jitter, colour_jitter))
    if randaugment_magnitude:
        steps.append(v2.RandAugment(num_ops=2, magnitude=randaugment_magnitude))
    return v2.Compose(steps)


def views_of(x: torch.Tensor, count: int, closer_share: float) -> list[torch.Tensor]:
    """The first `count` (1, 2, 4 or 8) views of square images (n, 3, s, s): as they are, mirrored
    left-right, up-down, both, and the quarter turns of these. Every second one looks closer: it
    shows the middle `closer_share` of the sides, at the same size."""
    if count == 1:
        return [channels_last(x)]
    near = _enlarged(x, closer_share) if closer_share < 1 else x
    views = [x, near.flip(3), x.flip(2), near.flip((2, 3))]
    if count > 4:
        views += [view.transpose(2, 3) for view in views]
    # flipping forgets the memory layout, and convolutions in the other one take twice as long
    return [view.contiguous(memory_format=torch.channels_last) for view in views[:count]]


def _enlarged(x: torch.Tensor, share: float) -> torch.Tensor:
    side = int(x.shape[-1])
    cut = round(side * (1 - share) / 2)
    middle = x[:, :, cut : side - cut, cut : side - cut]
    return nn.functional.interpolate(middle, (side, side), mode="bicubic", align_corners=False)
