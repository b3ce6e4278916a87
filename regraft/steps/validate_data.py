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
    from regraft.data.kinds import kind_of, options_of
    from regraft.steps.workspace import home

    kind = kind_of(task)
    options = options_of(kind, typed(DataOptions, data))
    root = Path(options.pop("root"))
    store = {"store": (home() / kind.store).resolve()} if kind.store else {}
    kind.validate(root, Path(out_dir), seed=seed, **store, **options)
