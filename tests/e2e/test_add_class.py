"""A class is added to a champion that a run made, then exported: the commands a user types."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from regraft.data.examples.leaves import draw_leaf
from tests.e2e.support import CLASSES, Project

pytestmark = pytest.mark.e2e


def draw(folder: Path, label: str, count: int) -> Path:
    folder.mkdir(parents=True)
    for index in range(count):
        Image.fromarray(draw_leaf("lab", label, index)).save(folder / f"{index:03d}.jpg")
    return folder


def test_a_class_is_added_asked_for_and_exported(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.run("distillation.enabled=false", "finetune.min_labels_per_class=1000")
    (manifest,) = (tmp_path / "run").rglob("dataset/manifest.parquet")
    rust = draw(tmp_path / "new" / "rust", "rust", 12)

    result = project.call(
        "add-class", "tiny", "rust", str(rust), "--manifest", str(manifest),
        "--max-drop-pp", "10", "--json",
    )  # fmt: skip
    assert result.code == 0, result.text
    found = json.loads(result.output)
    assert found["classes"] == [*CLASSES, "rust"]
    assert found["old_classes"]["drop_pp"] <= 10
    assert found["decision"]["outcome"] == "promote", found
    assert [entry["triggered_by"] for entry in project.history()][-1] == "regraft add-class"

    result = project.call("predict", "tiny", str(rust / "000.jpg"), "--json")
    assert result.code == 0, result.text
    (answer,) = json.loads(result.output)
    assert set(answer["probabilities"]) == {*CLASSES, "rust"}

    again = project.call("add-class", "tiny", "rust", str(rust))
    assert again.code == 2
    assert "knows this class already" in again.text
    assert "Traceback" not in again.text

    file = tmp_path / "tiny.onnx"
    result = project.call("export", "tiny", "--onnx", str(file), "--json")
    assert result.code == 0, result.text
    report = json.loads(result.output)
    assert report["labelled"], "the version that add-class made knows its test photos"
    assert report["float"]["agreement"] == 1.0
    assert file.stat().st_size == report["bytes"]
