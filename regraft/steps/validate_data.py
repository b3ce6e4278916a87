"""Data validation: raw files in, manifest and quality report out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from regraft.recipe.data import DataOptions
from regraft.steps.options import typed

_OF_IMAGES = ("min_image_side", "max_image_pixels", "near_duplicate_distance")
_OF_TEXTS = ("max_characters", "language")


def validate_data(*, task: str, data: dict[str, Any], seed: int, out_dir: str | Path) -> None:
    """Write manifest.parquet, quarantine.parquet, quality.json and data_docs/ into `out_dir`.

    `data` are the fields of the recipe's data section.
    """
    from regraft.data.validation import validate_images, validate_texts
    from regraft.steps.workspace import home

    options = typed(DataOptions, data)
    root = Path(options.pop("root"))
    # by name, not by the module of the task: tasks import torch
    if task == "question_answering":
        for name in _OF_IMAGES:
            options.pop(name)
        store = (home() / "texts").resolve()
        validate_texts(root, Path(out_dir), store=store, seed=seed, **options)
        return
    for name in _OF_TEXTS:
        options.pop(name)
    validate_images(root, Path(out_dir), seed=seed, **options)
