"""What a teacher carries beside its classifier, where the manifest has what it is learned from: the
assistant that answers questions, the signer that signs words.

Each is a module with `SECTION` (of the report), `wanted(rows)`, `write(rows, features, folder,
seed=...)` into the model's folder, and `measure(predictor, test, logits, seed=...)`, {} without
one. Of the figures, what `SHOWN` names is for the report alone.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

_MODULES = ("answers", "signing")


def write_companions(rows: pd.DataFrame, features: Path, folder: Path, *, seed: int) -> None:
    """Learn and write those that these rows of a manifest have examples for."""
    for module in _wanted(rows):
        module.write(rows, features, folder, seed=seed)


def companion_figures(
    predictor: Any, test: pd.DataFrame, logits: np.ndarray, *, seed: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Of a teacher on test rows with its `logits` (n, classes): sections of the report, and
    metrics beside those of the classifier."""
    sections: dict[str, Any] = {}
    metrics: dict[str, Any] = {}
    for module in _wanted(test):
        found = module.measure(predictor, test, logits, seed=seed)
        if found:
            sections[module.SECTION] = found
            metrics |= {name: value for name, value in found.items() if name not in module.SHOWN}
    return sections, metrics


def _wanted(rows: pd.DataFrame) -> list[Any]:
    modules = [import_module(f"regraft.steps.{name}") for name in _MODULES]
    return [module for module in modules if module.wanted(rows)]
