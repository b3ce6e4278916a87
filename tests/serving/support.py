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


class BrightnessPredictor:
    """Tells light from dark pictures; reads path, bytes and base64 as every predictor does."""

    def __init__(self, folder: Path | str) -> None:
        card = json.loads((Path(folder) / "model.json").read_text())
        self.classes: list[str] = card["classes"]

    def predict(self, inputs: list[str | bytes]) -> list[dict[str, Any]]:
        return [self._answer(value) for value in inputs]

    def _answer(self, value: str | bytes) -> dict[str, Any]:
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
