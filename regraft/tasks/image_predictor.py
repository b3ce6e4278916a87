"""A saved image classifier, ready to answer."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.special import softmax

from regraft.data.image_statistics import image_statistics
from regraft.data.images import open_rgb
from regraft.errors import UserError
from regraft.tasks.classifier import Classifier

_BATCH = 16


class ImagePredictor:
    """A saved classifier, ready to answer. Later changes of `model` do not reach it."""

    def __init__(self, model: Classifier) -> None:
        self.model = model
        self._answering = model.for_inference()
        self.classes = model.classes
        self.temperature = model.temperature

    def logits(self, inputs: list[Any]) -> np.ndarray:
        """Averaged logits before the temperature, (n, classes); `inputs` as in `predict`, or
        Pillow images."""
        return self.rows(inputs)[:, : len(self.classes)]

    def rows(self, inputs: list[Any]) -> np.ndarray:
        """The same for every row of the head, those of the auxiliary tasks included."""
        found = [self._answering.averaged_rows(x).cpu().numpy() for x in self.batches(inputs)]
        n_rows = len(self.classes) + sum(map(len, self.model.auxiliary.values()))
        return np.concatenate(found) if found else np.zeros((0, n_rows), np.float32)

    def batches(self, inputs: list[Any]) -> Iterator[torch.Tensor]:
        """What the network reads of `inputs`: (n, 3, size, size), a few at a time."""
        for start in range(0, len(inputs), _BATCH):
            found = [self._tensor(value) for value in inputs[start : start + _BATCH]]
            yield torch.cat(found).to(self.model.encoder.device)

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
        try:
            return _from_base64(text)
        except ValueError as error:
            raise UserError(
                "the input is not base64",
                got=text[:80],
                expected="base64 of the bytes of an image, alone or as a data: address",
            ) from error

    def prepare(self, data: bytes, *, max_pixels: int) -> tuple[torch.Tensor, dict[str, float]]:
        """The network's input (1, 3, size, size) from the bytes of an image of at most
        `max_pixels` pixels, and the statistics of the image. Raises `UserError`."""
        image = open_rgb(data, max_pixels=max_pixels)
        return self._tensor(image), image_statistics(image)

    def describe(self, value: Any) -> dict[str, float]:
        """Statistics of one picture; see `regraft.data.image_statistics`."""
        return image_statistics(decode(value))

    def probabilities(self, inputs: list[Any]) -> np.ndarray:
        """Calibrated probabilities, (n, classes)."""
        return softmax(self.logits(inputs) / self.model.temperature, axis=1)

    def predict(self, inputs: list[str | bytes]) -> list[dict[str, Any]]:
        """One answer {label, confidence, probabilities} per input; with auxiliary tasks also
        "tasks": {name: {label, confidence}}."""
        return self.answer(inputs)[0]

    def answer(self, inputs: list[Any]) -> tuple[list[dict[str, Any]], np.ndarray]:
        """The answers of `predict`, and the embeddings (n, dim) float32, from one forward pass."""
        rows, embeddings = self.rows_and_embeddings(inputs)
        return self.answers_of(rows), embeddings

    def rows_and_embeddings(self, inputs: list[Any]) -> tuple[np.ndarray, np.ndarray]:
        """`rows` (n, rows of the head) and embeddings (n, dim), float32, from one forward pass."""
        pairs = [self._answering.averaged(x) for x in self.batches(inputs)]
        if not pairs:
            none = np.zeros((0, self.model.encoder.dim), np.float32)
            return self.rows([]), none
        rows, embeddings = (
            torch.cat(parts).float().cpu().numpy() for parts in zip(*pairs, strict=True)
        )
        return rows, embeddings

    def answers_of(self, found: np.ndarray) -> list[dict[str, Any]]:
        """The answers that `rows` (n, rows of the head) amount to."""
        tasks = self.task_probabilities(found)
        answers = []
        probabilities = softmax(found[:, : len(self.classes)] / self.model.temperature, axis=1)
        for number, row in enumerate(probabilities):
            best = int(row.argmax())
            named = dict(zip(self.classes, (round(float(p), 6) for p in row), strict=True))
            answer: dict[str, Any] = {
                "label": self.classes[best],
                "confidence": named[self.classes[best]],
                "probabilities": named,
            }
            if tasks:
                answer["tasks"] = {name: self._best(name, p[number]) for name, p in tasks.items()}
            answers.append(answer)
        return answers

    def task_probabilities(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Calibrated probabilities (n, classes of the task) of each auxiliary task, from `rows`."""
        temperatures = self.model.auxiliary_temperatures
        return {
            name: softmax(rows[:, columns] / temperatures[name], axis=1)
            for name, columns in self.model.auxiliary_columns.items()
        }

    def _best(self, task: str, probabilities: np.ndarray) -> dict[str, Any]:
        best = int(probabilities.argmax())
        label = self.model.auxiliary[task][best]
        return {"label": label, "confidence": round(float(probabilities[best]), 6)}


def decode(value: Any) -> Any:
    """An RGB image from a path, bytes, base64 text or a Pillow image.

    Raises
    ------
    UserError
        Neither an existing file nor base64, or not an image.
    """
    if not isinstance(value, str):
        return open_rgb(value)
    if len(value) < 4096 and Path(value).is_file():
        return open_rgb(value)
    try:
        return open_rgb(_from_base64(value))
    except ValueError as error:
        raise UserError(
            "the input is neither an existing file nor base64",
            got=value[:80],
            expected="a path, the bytes of an image, or base64",
        ) from error


def _from_base64(text: str) -> bytes:
    """Raises ValueError."""
    text = text.partition(",")[2] if text.startswith("data:") else text
    return base64.b64decode(text, validate=True)
