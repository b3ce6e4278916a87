"""A task that needs no deep-learning stack, behind the real predictor protocol."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from safetensors.numpy import save_file

from regraft.data.images import open_rgb
from regraft.errors import UserError


class BrightnessPredictor:
    """Tells light from dark pictures; reads path, bytes and base64 as every predictor does."""

    task = "image_classification"
    fields: tuple[str, ...] = ()

    def __init__(self, folder: Path | str) -> None:
        card = json.loads((Path(folder) / "model.json").read_text())
        self.classes: list[str] = card["classes"]

    @classmethod
    def of(cls, classes: list[str]) -> BrightnessPredictor:
        made = cls.__new__(cls)
        made.classes = classes
        return made

    def predict(self, inputs: list[Any]) -> list[dict[str, Any]]:
        return [self._answer(value) for value in inputs]

    def answer(self, inputs: list[Any]) -> tuple[list[dict[str, Any]], np.ndarray]:
        answers = self.predict(inputs)
        light = [answer["probabilities"]["light"] for answer in answers]
        return answers, np.array([[share, 1.0] for share in light], np.float32).reshape(-1, 2)

    def measured(self, embeddings: np.ndarray) -> list[dict[str, float]]:
        return [{} for _ in embeddings]

    def from_text(self, text: str) -> bytes:
        try:
            return base64.b64decode(text.partition(",")[2] or text, validate=True)
        except ValueError as error:
            raise UserError("the input is not base64", got=text[:80]) from error

    def prepare(self, data: bytes, *, max_pixels: int) -> tuple[Any, dict[str, float]]:
        image = open_rgb(data, max_pixels=max_pixels)
        return image, {"width": float(image.width)}

    def _answer(self, value: Any) -> dict[str, Any]:
        if isinstance(value, str) and not value.endswith(".png"):
            value = base64.b64decode(value, validate=True)
        light = float(np.asarray(open_rgb(value)).mean()) / 255
        shares = dict(zip(self.classes, (1 - light, light), strict=True))
        label = max(shares, key=lambda name: shares[name])
        return {"label": label, "confidence": shares[label], "probabilities": shares}


def write_model(folder: Path) -> Path:
    folder.mkdir()
    (folder / "model.json").write_text(json.dumps({"task": "fake", "classes": ["dark", "light"]}))
    save_file({"weight": np.arange(4, dtype=np.float32)}, folder / "model.safetensors")
    return folder


def picture(grey: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (40, 40), (grey, grey, grey)).save(buffer, format="PNG")
    return buffer.getvalue()
