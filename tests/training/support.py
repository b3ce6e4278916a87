"""A problem small enough to be learned in seconds: which half of the picture is bright?"""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch

from regraft.backbones.encoder import Encoder
from regraft.backbones.loading import load_pretrained
from regraft.tasks.classifier import Classifier
from regraft.training.examples import Split

CLASSES = ["left", "right"]


class Halves:
    """Views of generated pictures, a function of (example, view) as in a task."""

    def __init__(self, n: int, size: int = 64, seed: int = 0) -> None:
        self.n, self.size, self.seed = n, size, seed

    def __len__(self) -> int:
        return self.n

    @property
    def fingerprint(self) -> str:
        return f"{self.n} {self.size} {self.seed}"

    def at_size(self, image_size: int) -> Halves:
        return Halves(self.n, image_size, self.seed)

    def batch(self, indices: np.ndarray, views: np.ndarray) -> torch.Tensor:
        return torch.stack([self._one(int(i), int(v)) for i, v in zip(indices, views, strict=True)])

    def _one(self, index: int, view: int) -> torch.Tensor:
        rng = np.random.default_rng((self.seed, index, view))
        picture = rng.normal(0, 0.5, (3, self.size, self.size)).astype(np.float32)
        half = self.size // 2
        side = slice(0, half) if index % 2 == 0 else slice(half, self.size)
        picture[:, :, side] += 1.0
        return torch.from_numpy(picture)


def split(n: int) -> Split:
    labels = np.arange(n) % 2
    return Split(pd.DataFrame({"label": np.array(CLASSES)[labels]}), labels, 2)


def classifier(name: str = "test_efficientnet", seed: int = 0) -> Classifier:
    torch.manual_seed(seed)
    return Classifier(Encoder(*load_pretrained(name, weights="random", image_size=64)), CLASSES)
