"""What can be said of containers without an engine; tests/containers/ runs them."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from pipelines import containers, runner
from pipelines.arguments import input_folders
from pipelines.profile import ClusterProfile, load_profile
from regraft.cli.main import cli
from regraft.errors import UserError
from regraft.recipe import Recipe, load_recipe
from tests.pipelines.test_compiled import ROOT

RECIPE = ROOT / "recipes" / "plant_disease.yaml"


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    (tmp_path / "photos").mkdir()
    return load_recipe(RECIPE, [f"data.root={tmp_path / 'photos'}"])


@pytest.fixture
def no_engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path / 'nobody.sock'}")


def test_without_an_engine_nothing_starts(no_engine: None, recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no container engine answers(.|\n)*docker info"):
        containers.Containers(None, recipe, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_profile_needs_the_runner_that_reads_it(no_engine: None, tmp_path: Path) -> None:
    profile = str(ROOT / "infra" / "profiles" / "cluster.yaml")
    refused = CliRunner().invoke(cli, ["run", str(RECIPE), "--profile", profile])
    assert refused.exit_code == 2
    assert "--runner docker" in refused.output


def test_only_the_images_of_a_profile_are_for_this_machine() -> None:
    profile = load_profile(ROOT / "infra" / "profiles" / "cluster.yaml")
    digest = "sha256:" + "a" * 64
    values = profile.model_dump() | {"image": {"name": "r.example/x", "digest": digest}}
    found = containers.images_of(ClusterProfile.model_validate(values))
    assert found.image.reference() == f"r.example/x@{digest}"
    light = found.step("data_validation").image
    assert light is not None and light.name.endswith("/steps-data")
    assert not found.environment and not found.secrets and not found.volumes
    assert {found.step(name).retries.count for name in profile.steps} == {0}


def test_steps_see_the_photos_and_the_weights(tmp_path: Path) -> None:
    for name in ("photos", "weights"):
        (tmp_path / name).mkdir()
    file = tmp_path / "weights" / "model.safetensors"
    file.write_bytes(b"")
    options = [f"data.root={tmp_path / 'photos'}", f"backbone.weights={file}"]
    found = input_folders(load_recipe(RECIPE, options))
    assert found == [tmp_path / "photos", tmp_path / "weights"]


def test_of_a_table_they_see_the_folder(tmp_path: Path) -> None:
    table = tmp_path / "photos.csv"
    table.write_text("path,label\n")
    assert input_folders(load_recipe(RECIPE, [f"data.root={table}"])) == [tmp_path]


def test_a_step_that_vanished_is_no_success(tmp_path: Path) -> None:
    """Kubeflow's runner takes a container that is gone for one that succeeded."""
    records = tmp_path / "records"
    records.mkdir()
    (tmp_path / "log.txt").write_text("")

    def pipeline() -> None:
        print("INFO - Executing task 'data-validation'")

    with pytest.raises(runner.StepError, match="data_validation ended without a word"):
        runner.run_pipeline(pipeline, {}, tmp_path, records, 1, cached=True)
    (records / "data_validation.json").write_text(yaml.safe_dump({"status": "done"}))
    runner.run_pipeline(pipeline, {}, tmp_path, records, 1, cached=True)
