"""Data validation: raw files in, manifest and quality report out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from regraft.recipe.data import DataOptions
from regraft.steps.options import typed


def validate_data(*, task: str, data: dict[str, Any], seed: int, out_dir: str | Path) -> None:
    """Write manifest.parquet, quarantine.parquet, quality.json and data_docs/ into `out_dir`.

    `data` are the fields of the recipe's data section.
    """
    from regraft.data.validation import validate_images

    validators = {"image_classification": validate_images}  # by name: tasks import torch
    options = typed(DataOptions, data)
    root = Path(options.pop("root"))
    validators[task](root, Path(out_dir), seed=seed, **options)
