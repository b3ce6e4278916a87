"""What is learned: one module per kind of task.

A saved model is a folder with `model.safetensors` and `model.json`; `load_model` hands it to the
module of its task.
"""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from regraft.data.audio import example_recording
from regraft.errors import UserError

NOUNS = {
    "image_classification": "images",
    "speech_to_sign": "recordings",
    "question_answering": "questions",
    "image_text_classification": "pairs",
}
"""What the examples of each kind of task are called."""
KINDS = tuple(NOUNS)
INPUTS: dict[str, tuple[str, str | None]] = {
    "image_classification": ("image", None),
    "speech_to_sign": ("recording", example_recording()),
    "question_answering": ("question", "What are the symptoms of asthma?"),
    "image_text_classification": (
        "pair",
        '{"image": "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAAAAADhZOFXAAAAGklEQVR42mMUYIAAFnkY'
        'QxHGUCDMYHwPZQAALeQB2gvqqowAAAAASUVORK5CYII=", "text": "What is shown?"}',
    ),
}
"""Name of the column of a registered model's input, and an example (None: the registry's own)."""
PACKAGES = {
    "image_classification": ("timm", "torch", "torchvision", "pillow"),
    "speech_to_sign": ("scipy", "soundfile", "timm", "torch"),
    "question_answering": ("tokenizers", "torch", "transformers"),
    "image_text_classification": (
        *("pillow", "timm", "tokenizers", "torch", "torchvision", "transformers"),
    ),
}
"""What a registered model of each kind needs beside numpy, pandas and safetensors."""


class Predictor(Protocol):
    """A saved model, ready to answer."""

    task: str
    fields: tuple[str, ...]
    classes: list[str]

    def predict(self, inputs: list[str | bytes]) -> list[dict[str, Any]]:
        """One answer {label, confidence, probabilities} per input.

        An input is a path, the bytes of a file, or base64 text (also as a data: address).
        """

    def answer(self, inputs: list[Any]) -> tuple[list[dict[str, Any]], np.ndarray]:
        """The answers of `predict` and the embeddings (n, dim) float32, from one pass."""

    def from_text(self, text: str) -> bytes:
        """The bytes of an input that came as text in JSON; never those of a file of that name."""

    def prepare(self, data: bytes, *, max_pixels: int) -> tuple[Any, dict[str, float]]:
        """One input from its bytes, decoded and made small: what `predict` and `answer` take
        beside the usual forms, and what `describe` says of it. May run in any thread.

        Raises `UserError` when the bytes are no such input, or more than may be decoded.
        """

    def describe(self, value: Any) -> dict[str, float]:
        """A few cheap statistics of one input by name: the same function for the reference that
        evaluation keeps and for live inputs, so that they can be compared."""

    def measured(self, embeddings: np.ndarray) -> list[dict[str, float]]:
        """Further statistics of inputs, from their embeddings (n, dim)."""

    def probabilities(self, inputs: list[Any]) -> np.ndarray:
        """Calibrated probabilities, (n, classes); of a `Path`, the input that the file holds."""


def task_module(kind: str) -> Any:
    """The module of a kind of task."""
    if kind not in KINDS:
        raise UserError("unknown task", got=kind, expected=", ".join(KINDS))
    return import_module(f"{__name__}.{kind}")


def load_model(folder: str | Path) -> Predictor:
    """The predictor saved in a folder.

    Raises
    ------
    UserError
        The folder holds no model, or the model of an unknown task.
    """
    card = Path(folder) / "model.json"
    if not card.is_file():
        raise UserError("this folder holds no model", where=str(folder), expected="model.json")
    predictor: Predictor = task_module(json.loads(card.read_text())["task"]).load(Path(folder))
    return predictor
