"""What a killed run has computed is not computed again."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from regraft.training.checkpoints import kept_array


def test_an_array_is_computed_once(tmp_path: Path) -> None:
    asked: list[int] = []

    def compute() -> np.ndarray:
        asked.append(1)
        return np.arange(3.0)

    for _ in range(2):
        kept = kept_array(tmp_path / "answers.npy", compute)
        np.testing.assert_array_equal(kept, [0, 1, 2])
    assert len(asked) == 1
