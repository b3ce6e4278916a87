from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from regraft.data.files import atomic_write
from regraft.data.manifest import read_manifest, write_manifest
from regraft.errors import UserError


def manifest() -> pd.DataFrame:
    row = {"id": "a/1.jpg", "path": "/x/a/1.jpg", "label": "a", "domain": "", "group": "a/1.jpg",
           "split": "train", "size": 7.0, "sha256": "0", "perceptual_hash": "", "quality_flags": "",
           "field": "north", "width": 5, "height": 6, "brightness": 1}  # fmt: skip
    return pd.DataFrame([row, row | {"id": "b", "label": None, "split": "unlabelled"}])


def test_round_trip(tmp_path: Path) -> None:
    write_manifest(manifest(), tmp_path / "new/manifest.parquet")
    table = read_manifest(tmp_path / "new/manifest.parquet")
    assert table["label"].tolist() == ["a", None]
    assert str(table["size"].dtype) == "int64"
    assert table["field"].tolist() == ["north", "north"]
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["manifest.parquet"]


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def fail(temporary: Path) -> None:
        temporary.write_text("half of the ne")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        atomic_write(path, fail)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not found"):
        read_manifest(tmp_path / "none.parquet")


def test_no_parquet(tmp_path: Path) -> None:
    (tmp_path / "m.parquet").write_text("path,label")
    with pytest.raises(UserError, match="not readable as parquet"):
        read_manifest(tmp_path / "m.parquet")


def test_missing_columns_and_unknown_splits_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="also label, sha256"):
        write_manifest(manifest().drop(columns=["label", "sha256"]), tmp_path / "m.parquet")
    with pytest.raises(UserError, match="holdout"):
        write_manifest(manifest().assign(split="holdout"), tmp_path / "m.parquet")
