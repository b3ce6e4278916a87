"""From recipe to pipeline arguments: complete, absolute, and different where the inputs differ."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format, struct_pb2

from pipelines import arguments
from pipelines.arguments import monitoring_arguments, training_arguments
from pipelines.monitoring import monitoring_pipeline
from pipelines.training import training_pipeline
from regraft.recipe import Recipe
from regraft.recipe.backbone import BackboneOptions
from regraft.recipe.data import DataOptions
from regraft.recipe.distillation import DistillationOptions
from regraft.recipe.finetune import FinetuneOptions
from regraft.steps.options import typed

SECTIONS: dict[str, Any] = {
    "data": DataOptions,
    "backbone": BackboneOptions,
    "finetune": FinetuneOptions,
    "distillation": DistillationOptions,
}


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "photos" / "rust"
    folder.mkdir(parents=True)
    (folder / "a.jpg").write_bytes(b"one")
    (folder / "b.jpg").write_bytes(b"two")
    return tmp_path / "photos"


def recipe(**sections: Any) -> Recipe:
    return Recipe.model_validate({"name": "tiny", "data": {"root": "photos"}, **sections})


def test_the_pipeline_gets_exactly_its_arguments(photos: Path) -> None:
    pipeline = training_pipeline(with_student=True)
    assert set(training_arguments(recipe())) == set(pipeline.component_spec.inputs)


def test_the_monitoring_pipeline_gets_exactly_its_arguments(photos: Path) -> None:
    pipeline = monitoring_pipeline(with_student=True)
    found = monitoring_arguments(recipe(), window="photos")
    assert set(found) == set(pipeline.component_spec.inputs)
    assert found["window"] == str(photos)
    assert found["recipe"] == training_arguments(recipe())["recipe"]


def test_a_check_does_not_need_the_photos_that_the_first_training_had(tmp_path: Path) -> None:
    gone = Recipe.model_validate({"name": "tiny", "data": {"root": str(tmp_path / "gone")}})
    assert monitoring_arguments(gone)["recipe"]["data"]["root"] == str(tmp_path / "gone")


def test_relative_paths_become_absolute(photos: Path) -> None:
    weights = {"name": "test_vit", "weights": "w.safetensors"}
    found = training_arguments(
        recipe(backbone=weights, features={"candidates": [weights]},
               distillation={"student": weights})
    )  # fmt: skip
    expected = str(photos.parent / "w.safetensors")
    assert found["data"]["root"] == str(photos)
    assert found["backbone"]["weights"] == expected
    assert found["features"]["candidates"][0]["weights"] == expected
    assert found["distillation"]["student"]["weights"] == expected
    assert found["recipe"]["backbone"]["weights"] == expected


@pytest.mark.parametrize("word", ["", "random"])
def test_words_are_no_paths(word: str, photos: Path) -> None:
    found = training_arguments(recipe(backbone={"name": "test_vit", "weights": word}))
    assert found["backbone"]["weights"] == word


def test_the_home_folder_s_sign_is_understood(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(photos.parent))
    found = training_arguments(recipe(data={"root": "~/photos"}))
    assert found["data"]["root"] == str(photos)


def through_kubeflow(values: dict[str, Any]) -> dict[str, Any]:
    """As a component receives it: a protobuf struct knows no integers."""
    struct = struct_pb2.Struct()
    json_format.ParseDict(values, struct)
    found: dict[str, Any] = json_format.MessageToDict(struct)
    return found


@pytest.mark.parametrize("section", sorted(SECTIONS))
def test_options_survive_the_way_through_kubeflow(section: str, photos: Path) -> None:
    sent = training_arguments(recipe())[section]
    found = typed(SECTIONS[section], through_kubeflow(sent))
    assert found == sent
    assert _types(found) == _types(sent)


def _types(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _types(child) for key, child in value.items()}
    return [_types(child) for child in value] if isinstance(value, list) else type(value)


def test_the_data_version_follows_the_photos(photos: Path) -> None:
    before = training_arguments(recipe())["data_version"]
    assert training_arguments(recipe())["data_version"] == before
    os.utime(photos / "rust" / "a.jpg", (1, 1))
    assert training_arguments(recipe())["data_version"] == before, "time is not content"
    (photos / "rust" / "a.jpg").write_bytes(b"ONE")
    changed = training_arguments(recipe())["data_version"]
    (photos / "rust" / "a.jpg").write_bytes(b"one")
    (photos / "rust" / "b.jpg").rename(photos / "rust" / "c.jpg")
    renamed = training_arguments(recipe())["data_version"]
    assert len({before, changed, renamed}) == 3


def test_the_weights_version_follows_the_file(photos: Path) -> None:
    weights = photos.parent / "w.safetensors"
    options = {"name": "test_vit", "weights": str(weights)}
    found = set()
    for content, config in ((b"one", "{}"), (b"two", "{}"), (b"two", '{"a": 1}')):
        weights.write_bytes(content)
        weights.with_name("config.json").write_text(config)
        found.add(training_arguments(recipe(backbone=options))["weights_version"])
    assert len(found) == 3


@pytest.mark.parametrize("field", ["name", "weights"])
@pytest.mark.parametrize("nested", [False, True])
def test_a_folder_of_transformers_is_found_and_its_version_follows_the_files(
    photos: Path, monkeypatch: pytest.MonkeyPatch, field: str, nested: bool
) -> None:
    """Steps run in other folders than the user, and in containers that see what is mounted."""
    monkeypatch.chdir(photos.parent)
    folder = photos.parent / "models" / "clip"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    options: dict[str, Any] = {field: "models/clip"}
    given = recipe(backbone={"text": options} if nested else options)
    found = set()
    for content in (b"one", b"two"):
        (folder / "model.safetensors").write_bytes(content)
        found.add(training_arguments(given)["weights_version"])
    assert len(found) == 2
    sent = training_arguments(given)["backbone"]
    assert (sent["text"] if nested else sent)[field] == str(folder)
    assert folder in arguments.input_folders(given)


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of some sources that `code_version` looks at."""
    for folder in ("components", "pipelines"):
        shutil.copytree(Path(arguments.__file__).parents[1] / folder, tmp_path / folder)
    monkeypatch.setattr(arguments, "__file__", str(tmp_path / "pipelines" / "arguments.py"))
    return tmp_path


def test_the_code_version_follows_the_sources(sources: Path) -> None:
    before = arguments.code_version()
    (sources / "components" / "notes.txt").write_text("not code")
    assert arguments.code_version() == before
    changed = sources / "components" / "evaluation" / "component.py"
    text = changed.read_text(encoding="utf-8")
    changed.write_text(text + "\n# a change", encoding="utf-8")
    after = arguments.code_version()
    assert after != before
    changed.write_text(text, encoding="utf-8")
    assert arguments.code_version() == before
    changed.rename(changed.with_name("other.py"))
    assert arguments.code_version() not in {before, after}


def test_the_code_version_follows_the_libraries(
    sources: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = arguments.code_version()
    monkeypatch.setattr(arguments, "version", lambda library: "0.0.0")
    assert arguments.code_version() != before
