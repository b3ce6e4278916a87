"""Training views of image-text pairs: a view of the image beside one of the text.

In views v > 0 one modality is left out with the probability `modality_dropout` (ModDrop: Neverova
et al., TPAMI 38, 2016), so that the answers to what is missing learn too. See `image_views` for why
views are functions.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL.Image import Image

from regraft.backbones.pair_encoder import PairEncoder
from regraft.data.images import open_rgb
from regraft.data.pair_files import PairFile, open_pair
from regraft.tasks.image_views import ImageViews
from regraft.tasks.text_views import TextViews


def read_pair(path: str) -> PairFile:
    """The pair in a file. Raises UserError."""
    return open_pair(Path(path).read_bytes())


class _Images(ImageViews):
    """Views of the images in files of pairs."""

    def _opened(self, path: str) -> Image:
        image = read_pair(path).image
        assert image is not None  # validation has seen it
        return open_rgb(image)


class PairViews:
    """Views of the pairs in `paths`, whose digests are `contents`; `augmentation` are the fields of
    the recipe's section."""

    def __init__(
        self,
        paths: list[str],
        encoder: PairEncoder,
        augmentation: dict[str, Any],
        *,
        seed: int,
        contents: list[str],
    ) -> None:
        how = encoder.image.spec.preprocessing
        self._encoder, self._seed, self._contents = encoder, seed, contents
        self._dropout: float = augmentation["modality_dropout"]
        self._images = _Images(paths, how, augmentation, seed=seed, contents=contents)
        texts = [read_pair(path).text or "" for path in paths]
        self._texts = TextViews(texts, encoder.text.tokens, augmentation, seed=seed)

    def __len__(self) -> int:
        return len(self._images)

    @property
    def fingerprint(self) -> str:
        """Digest of everything that a view depends on."""
        parts = [self._images.fingerprint, self._texts.fingerprint, self._dropout]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def at_size(self, image_size: int) -> PairViews:
        """A pair has one size; a plan that asks for another is refused before."""
        return self

    def batch(self, indices: np.ndarray, views: np.ndarray) -> torch.Tensor:
        """Rows of `PairEncoder.packed`."""
        x = self._encoder.packed(
            self._images.batch(indices, views), self._texts.batch(indices, views)
        )
        for row, (index, view) in enumerate(zip(indices, views, strict=True)):
            missing = self._missing(int(index), int(view))
            if missing is not None:
                x[row, missing] = 0.0
        return x

    def _missing(self, index: int, view: int) -> int | None:
        """The flag of the modality that this view lacks."""
        if not view or not self._dropout:
            return None
        seed = f"{self._seed}/{self._contents[index]}/{view}/missing".encode()
        rng = np.random.default_rng(list(hashlib.sha256(seed).digest()))
        return int(rng.integers(2)) if rng.random() < self._dropout else None
