"""Episodes are drawn from the test photos alone."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from regraft.bench.methods.episodes import WAYS, measure
from regraft.bench.shots import HEADS


def prepared(folder: Path) -> Any:
    """Six classes that lie apart in the test split; training rows that would mislead."""
    rng = np.random.default_rng(0)
    classes, per_class = 6, 12
    number = np.tile(np.arange(classes), per_class)
    features = np.eye(classes, 8)[number] + rng.normal(0, 0.05, (len(number), 8))
    misled = np.eye(classes, 8)[(number + 1) % classes]
    ids = [f"{split}{n}" for split in ("test", "train") for n in range(len(number))]
    np.savez(folder / "features.npz", ids=ids,
             averaged=np.concatenate([features, misled]).astype(np.float32))  # fmt: skip
    rows = pd.DataFrame(
        {
            "id": ids,
            "label": np.tile(number, 2).astype(str),
            "split": np.repeat(["test", "train"], len(number)),
            "group": ids,
        }
    )
    return SimpleNamespace(
        features=folder, rows=rows, recipe=SimpleNamespace(seed=0), timed=lambda step: nullcontext()
    )


def test_every_head_has_a_figure_per_number_of_shots(tmp_path: Path) -> None:
    found = measure(prepared(tmp_path), shots=[1, 5], episodes=4)["episodes"]
    assert set(found) == set(HEADS) - {"auto"}
    for own in found.values():
        assert set(own) == {"1", "5"}
        assert own["5"]["accuracy"] == pytest.approx(1.0)
        assert own["5"]["episodes"] == 4
    assert WAYS == 5
