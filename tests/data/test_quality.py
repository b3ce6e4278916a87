from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from regraft.data.quality import class_table, run_expectations


def good_manifest() -> pd.DataFrame:
    count = 8
    return pd.DataFrame(
        {
            "id": [f"{'ab'[i % 2]}/{i}.jpg" for i in range(count)],
            "label": ["ab"[i % 2] for i in range(count)],
            "group": [f"g{i}" for i in range(count)],
            "split": ["train", "train", "train", "train", "test", "test", "val", "val"],
            "sha256": [f"{i:064}" for i in range(count)],
            "size": 100,
            "brightness": 0.5,
        }
    )


def incoming(manifest: pd.DataFrame, reasons: list[str]) -> pd.DataFrame:
    return manifest[["id", "label"]].assign(reason=reasons, quality_flags="")


def failures(
    docs: Path,
    manifest: pd.DataFrame,
    *,
    reasons: list[str] | None = None,
    counts: dict[str, int] | None = None,
    flags: str = "",
) -> dict[str, int]:
    table = incoming(manifest, reasons or [""] * len(manifest)).assign(quality_flags=flags)
    classes = class_table(pd.Series(counts or {"a": 4, "b": 4}))
    entries = run_expectations(table, classes, manifest, docs, min_per_class=4, max_imbalance=3)
    assert all(set(e) >= {"expectation", "column", "success", "unexpected"} for e in entries)
    return {entry["meaning"]: entry["unexpected"] for entry in entries if not entry["success"]}


def test_good_data_pass_and_pages_are_written(tmp_path: Path, capfd: Any) -> None:
    assert failures(tmp_path / "docs", good_manifest()) == {}
    assert (tmp_path / "docs/index.html").is_file()
    assert "Calculating Metrics" not in capfd.readouterr().err


def test_each_check_of_the_manifest_can_fail(tmp_path: Path) -> None:
    manifest = good_manifest()
    manifest.loc[1, "id"] = manifest.loc[0, "id"]
    manifest.loc[2, "sha256"] = manifest.loc[0, "sha256"]
    manifest.loc[3, "label"] = "z"
    manifest.loc[4, "label"] = None
    manifest.loc[5, "split"] = "holdout"
    manifest.loc[[0, 6], "group"] = "of train and val"
    manifest.loc[6, "size"] = 0
    manifest.loc[7, "brightness"] = 1.5
    assert failures(tmp_path, manifest) == {
        "ids are unique": 2,
        "every example is listed once": 2,
        "no file is there twice": 2,
        "labels are known classes": 1,
        "what trains or tests has a label": 1,
        "every example has a split": 1,
        "no group is on two sides": 2,
        "files have content": 1,
        "brightness lies in 0..1": 1,
    }


def test_each_check_of_the_files_can_fail(tmp_path: Path) -> None:
    reasons = ["corrupt", "corrupt", "unreadable", "something_new", "", "", "", ""]
    found = failures(
        tmp_path,
        good_manifest(),
        reasons=reasons,
        flags="converted_cmyk,near_duplicate_other_label",
    )
    assert found == {
        "the file decodes": 2,
        "the file may be read": 1,
        "something_new": 1,
        "the colour mode is 8-bit RGB": 8,
        "near-duplicates have one label": 8,
    }


def test_each_check_of_the_classes_can_fail(tmp_path: Path) -> None:
    few = failures(tmp_path / "few", good_manifest(), counts={"a": 20, "b": 3})
    assert set(few) == {
        "every class has at least 4 usable examples",
        "no class is more than 3 times smaller than the largest",
    }
    one = failures(tmp_path / "one", good_manifest(), counts={"a": 9})
    assert one["two classes or more"] == -1


def test_no_data_fail(tmp_path: Path) -> None:
    assert failures(tmp_path, good_manifest().iloc[:0])["there are examples"] == -1


def test_a_check_that_cannot_run_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="did not run"):
        failures(tmp_path, good_manifest().drop(columns="size"))
