"""Labels and predictions whose accuracy is known."""

from __future__ import annotations

import numpy as np


def predictions(accuracy: float, count: int = 600, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Labels of four classes and predictions of which about `accuracy` are right."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 4
    wrong = rng.random(count) >= accuracy
    return labels, np.where(wrong, (labels + rng.integers(1, 4, count)) % 4, labels)
