"""What a teacher carries beside its classifier, where the manifest has what it is learned from: the
assistant that answers questions, the signer that signs words.

Each is a module with `SECTION` (of the report), `wanted(rows)`, `write(rows, features, folder,
options=..., seed=...)` into the model's folder, and `measure(predictor, test, logits, seed=...)`,
{} without one. One whose examples are also in another modality has `partners(rows, classes,
seed=...)`. Of the figures, what `SHOWN` names is for the report alone.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

_MODULES = ("answers", "signing")


def write_companions(
    rows: pd.DataFrame, features: Path, folder: Path, *, options: dict[str, Any], seed: int
) -> None:
    """Learn and write those that these rows of a manifest have examples for. `options` are the
    recipe's finetune section."""
    for module in _wanted(rows):
        module.write(rows, features, folder, options=options, seed=seed)


def partners_of(rows: pd.DataFrame, classes: list[str], *, seed: int) -> Any:
    """What finds the `Partners` of the training examples in another modality; None where they have
    none."""
    for module in _wanted(rows):
        if hasattr(module, "partners"):
            return partial(module.partners, rows, classes, seed=seed)
    return None


def teach_companions(
    rows: pd.DataFrame,
    teacher: Path,
    folder: Path,
    *,
    student: Callable[[Any], Any],
    options: dict[str, Any],
    seed: int,
) -> None:
    """Write a student's own into its folder, from those in its teacher's: see `answers.teach`.
    `options` are the recipe's distillation section. A signer is the teacher's alone."""
    from regraft.steps import answers
    from regraft.training.embedding_distillation import Lessons

    if options["retriever"]["epochs"] and answers.wanted(rows):
        lessons = Lessons(**options["retriever"])
        answers.teach(rows, teacher, folder, student=student, lessons=lessons, seed=seed)


def companion_figures(
    predictor: Any, test: pd.DataFrame, logits: np.ndarray, *, seed: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Of a model on test rows with its `logits` (n, classes): sections of the report, and
    metrics beside those of the classifier."""
    sections: dict[str, Any] = {}
    metrics: dict[str, Any] = {}
    for module in _wanted(test):
        found = module.measure(predictor, test, logits, seed=seed)
        if found:
            sections[module.SECTION] = found
            metrics |= {name: value for name, value in found.items() if name not in module.SHOWN}
    return sections, metrics


def companions_beside(
    teacher: Any, student: Any, test: pd.DataFrame, metrics: dict[str, Any]
) -> dict[str, Any]:
    """What a student's own keep of its teacher's, by name; {} where it has none. `metrics` are
    those of both, with the figures of their companions."""
    from regraft.steps import answers

    return answers.beside(teacher, student, test, metrics) if answers.wanted(test) else {}


def _wanted(rows: pd.DataFrame) -> list[Any]:
    modules = [import_module(f"regraft.steps.{name}") for name in _MODULES]
    return [module for module in modules if module.wanted(rows)]
