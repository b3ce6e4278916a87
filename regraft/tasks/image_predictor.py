"""A saved image classifier, ready to answer."""

from __future__ import annotations

from typing import Any

import torch

from regraft.data.image_statistics import image_statistics
from regraft.data.images import open_rgb
from regraft.tasks.classifier_predictor import ClassifierPredictor
from regraft.tasks.encoded import decoded, opened


class ImagePredictor(ClassifierPredictor):
    """Answers images: paths, bytes, base64 text or Pillow images."""

    task = "image_classification"

    def tensor(self, values: list[Any]) -> torch.Tensor:
        """(n, 3, size, size)."""
        return torch.cat([self._tensor(value) for value in values])

    def _tensor(self, value: Any) -> torch.Tensor:
        if isinstance(value, torch.Tensor):  # of `prepare`
            return value
        return self.model.encoder.spec.preprocessing.tensor([decode(value)])

    def from_text(self, text: str) -> bytes:
        """The bytes that base64 text or a data: address stands for.

        Raises
        ------
        UserError
            It is not base64.
        """
        return decoded(text, "an image")

    def prepare(self, data: bytes, *, max_pixels: int) -> tuple[torch.Tensor, dict[str, float]]:
        """The network's input (1, 3, size, size) from the bytes of an image of at most
        `max_pixels` pixels, and the statistics of the image. Raises `UserError`."""
        image = open_rgb(data, max_pixels=max_pixels)
        return self._tensor(image), image_statistics(image)

    def describe(self, value: Any) -> dict[str, float]:
        """Statistics of one picture; see `regraft.data.image_statistics`."""
        return image_statistics(decode(value))


def decode(value: Any) -> Any:
    """An RGB image from a path, bytes, base64 text or a Pillow image.

    Raises
    ------
    UserError
        Neither an existing file nor base64, or not an image.
    """
    return opened(value, open_rgb, "an image")
