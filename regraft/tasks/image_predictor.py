"""A saved image classifier, ready to answer."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.special import softmax

from regraft.data.images import open_rgb
from regraft.errors import UserError
from regraft.tasks.classifier import Classifier

_BATCH = 16


class ImagePredictor:
    """A saved classifier, ready to answer."""

    def __init__(self, model: Classifier) -> None:
        self.model = model
        self.classes = model.classes
        self.temperature = model.temperature

    def logits(self, inputs: list[Any]) -> np.ndarray:
        """Averaged logits before the temperature, (n, classes); `inputs` as in `predict`, or
        Pillow images."""
        return self.rows(inputs)[:, : len(self.classes)]

    def rows(self, inputs: list[Any]) -> np.ndarray:
        """The same for every row of the head, those of the auxiliary tasks included."""
        found = [self.model.averaged_rows(x).cpu().numpy() for x in self.batches(inputs)]
        n_rows = len(self.classes) + sum(map(len, self.model.auxiliary.values()))
        return np.concatenate(found) if found else np.zeros((0, n_rows), np.float32)

    def batches(self, inputs: list[Any]) -> Iterator[torch.Tensor]:
        """What the network reads of `inputs`: (n, 3, size, size), a few at a time."""
        preprocessing = self.model.encoder.spec.preprocessing
        for start in range(0, len(inputs), _BATCH):
            images = [decode(value) for value in inputs[start : start + _BATCH]]
            yield preprocessing.tensor(images).to(self.model.encoder.device)

    def probabilities(self, inputs: list[Any]) -> np.ndarray:
        """Calibrated probabilities, (n, classes)."""
        return softmax(self.logits(inputs) / self.model.temperature, axis=1)

    def predict(self, inputs: list[str | bytes]) -> list[dict[str, Any]]:
        """One answer {label, confidence, probabilities} per input; with auxiliary tasks also
        "tasks": {name: {label, confidence}}."""
        found = self.rows(inputs)
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
    text = value.partition(",")[2] if value.startswith("data:") else value
    try:
        return open_rgb(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError) as error:
        raise UserError(
            "the input is neither an existing file nor base64",
            got=value[:80],
            expected="a path, the bytes of an image, or base64",
        ) from error
