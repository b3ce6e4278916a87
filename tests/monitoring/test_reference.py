"""The champion's reference comes from the run that made it, or it is said what to do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from regraft.errors import UserError
from regraft.monitoring.reference import load_reference
from tests.registry.conftest import (  # noqa: F401
    empty_database,
    fresh_home,
    model_folder,
    one_look_at_the_migrations,
    registry,
)
from tests.registry.support import log_run, register


def reference_folder(folder: Path) -> Path:
    folder.mkdir()
    rows = pd.DataFrame(
        {
            "id": ["a", "b"], "split": ["test", "unlabelled"], "domain": ["lab", "field"],
            "label": ["rust", None], "group": ["a", "b"], "path": ["a.jpg", "b.jpg"],
            "predicted": ["rust", "healthy"], "confidence": [0.9, 0.6], "stat_width": [64.0, 32.0],
            "p:rust": [0.9, 0.4], "p:healthy": [0.1, 0.6],
        }
    )  # fmt: skip
    rows.to_parquet(folder / "reference.parquet")
    np.save(folder / "embeddings.npy", np.arange(6, dtype=np.float16).reshape(2, 3))
    return folder


def test_it_is_read_from_the_run_of_the_version(
    registry: Path,  # noqa: F811
    model_folder: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    run = log_run("one", artifacts=[(reference_folder(tmp_path / "made"), "reference")])
    register("one", model_folder, run_id=run)
    for name in ("plants", "plants/1", "plants@champion"):
        found = load_reference(name)
        assert found.version == "1"
        assert found.classes == ["rust", "healthy"]
        assert found.rows["id"].tolist() == ["a", "b"]
        assert found.rows["label"].tolist() == ["rust", None]
        assert found.embeddings.dtype == np.float32
        assert found.embeddings.tolist() == [[0, 1, 2], [3, 4, 5]]


def test_a_version_without_one_says_what_to_do(
    registry: Path,  # noqa: F811
    model_folder: Path,  # noqa: F811
) -> None:
    register("one", model_folder, run_id=log_run("one"))
    with pytest.raises(UserError, match="regraft run RECIPE"):
        load_reference("plants")
    with pytest.raises(UserError, match="apples"):
        load_reference("apples")
