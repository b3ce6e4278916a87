"""Who teaches a student, and what they say: one teacher, or several that differ by their seed.

Several teachers: Hinton, Vinyals and Dean, 2015, section 3 (the mean answer of an ensemble is
distilled into one model).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from regraft.training.checkpoints import kept_array

MOST_VIEWS_EACH, VIEWS_OF_FEW = 16, 640
"""Views of one example, and of all examples together, that few examples are shown in."""


@dataclass(frozen=True)
class Teachers:
    """Teachers in front of training views; the first one is the one that the student replaces.

    `module` is that of the task, `augmentation` the recipe's section, `folder` keeps what was said,
    so that a resumed run does not ask again.
    """

    module: Any
    models: Sequence[Any]
    augmentation: dict[str, Any]
    seed: int
    folder: Path

    def views_of(self, n_examples: int) -> int:
        """Views per example: the recipe's, and more where there are few examples."""
        more = min(MOST_VIEWS_EACH, VIEWS_OF_FEW // n_examples)
        return max(int(self.augmentation["cached_views"]), more)

    @property
    def temperature(self) -> float:
        """Of the answers."""
        return float(self.models[0].temperature)

    def views(self, model: Any, rows: pd.DataFrame) -> Any:
        """The views of these rows as `model` sees them: the same crops and colours for everyone."""
        return self.module.training_views(model.encoder, rows, self.augmentation, seed=self.seed)

    def answers(self, rows: pd.DataFrame, n_views: int, name: str) -> np.ndarray:
        """Mean logits (n, n_views, classes), each teacher's at the temperature of the first."""
        return kept_array(self.folder / f"{name}.npy", lambda: self._answers(rows, n_views))

    def _answers(self, rows: pd.DataFrame, n_views: int) -> np.ndarray:
        total = np.zeros((), dtype=np.float32)
        for model in self.models:
            logits = self.module.logits_of_views(model, self.views(model, rows), n_views)
            total = total + logits * np.float32(self.temperature / model.temperature)
        return np.asarray(total / np.float32(len(self.models)))

    def embeddings(self, rows: pd.DataFrame, n_views: int) -> np.ndarray:
        """Embeddings (n, n_views, dim) of the first teacher, on disk in half precision."""

        def computed() -> np.ndarray:
            views, numbers = self.views(self.models[0], rows), list(range(n_views))
            found = self.module.embeddings_of_views(self.models[0].encoder, views, numbers)
            return np.asarray(found, dtype=np.float16)

        return kept_array(self.folder / "embeddings.npy", computed)


def further_teachers(seeds: Sequence[int], folder: Path, **of_the_first: Any) -> list[Path]:
    """Folders of the teachers that the same fine-tuning makes from other seeds.

    They begin with the same probe and differ by their views and batches; `of_the_first` are the
    arguments that the first teacher was fine-tuned with. What is there already is not made again.
    """
    from regraft.steps.finetune import finetune

    made = []
    for seed in dict.fromkeys(seeds):
        out = folder / f"teacher-{seed}"
        if not (out / "model.json").is_file():
            finetune(seed=seed, out_dir=out, **of_the_first)
        made.append(out)
    return made
