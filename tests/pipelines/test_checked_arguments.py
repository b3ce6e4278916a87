"""Wrong arguments are told before anything is sent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.arguments import training_arguments
from pipelines.checked_arguments import check_arguments, check_reachable
from pipelines.profile import ClusterProfile
from regraft.errors import UserError
from regraft.recipe import load_recipe

GOLDEN = Path(__file__).parent / "golden"
SPEC = yaml.safe_load((GOLDEN / "training.yaml").read_text(encoding="utf-8"))


@pytest.fixture
def arguments(tmp_path: Path) -> dict[str, Any]:
    recipe = tmp_path / "leaves.yaml"
    recipe.write_text(f"name: leaves\ndata: {{root: {tmp_path}}}\n")
    return training_arguments(load_recipe(recipe))


def test_what_a_recipe_becomes_is_what_the_pipeline_takes(arguments: dict[str, Any]) -> None:
    check_arguments(SPEC, arguments)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sede": 1}, ["sede is unknown", "did you mean seed"]),
        ({"seed": None}, ["seed=None is no NUMBER_INTEGER"]),
        ({"seed": "1"}, ["seed='1' is no NUMBER_INTEGER"]),
        ({"seed": True}, ["seed=True is no NUMBER_INTEGER"]),
        ({"data": "photos"}, ["data='photos' is no STRUCT"]),
        ({"gate": {"min_gain": float("nan")}}, ["gate holds NaN"]),
        ({"gate": {"limits": [float("inf")]}}, ["gate holds NaN or infinity"]),
        ({"recipe": {"note": "x" * 200_000}}, ["recipe has 2000", "at most 100000 fit"]),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_wrong_argument_is_told(
    change: dict[str, Any], words: list[str], arguments: dict[str, Any]
) -> None:
    with pytest.raises(UserError) as caught:
        check_arguments(SPEC, {**arguments, **change})
    for word in [*words, "nothing was sent", "regraft-training"]:
        assert word in str(caught.value)


def test_a_missing_argument_is_told(arguments: dict[str, Any]) -> None:
    del arguments["seed"]
    with pytest.raises(UserError, match="seed is missing"):
        check_arguments(SPEC, arguments)


def profile(*mounts: str) -> ClusterProfile:
    return ClusterProfile.model_validate(
        {
            "namespace": "team",
            "image": {"name": "a/steps", "tag": "1"},
            "volumes": [{"claim": f"c{n}", "mount_path": path} for n, path in enumerate(mounts)],
        }
    )


def test_a_path_of_this_machine_is_told(arguments: dict[str, Any], tmp_path: Path) -> None:
    check_reachable(arguments, profile())
    check_reachable(arguments, profile("/data", str(tmp_path)))
    with pytest.raises(UserError, match=r"data\.root[\s\S]*under /data[\s\S]*data\.root=/data/"):
        check_reachable(arguments, profile("/data"))
    arguments["recipe"]["backbone"]["weights"] = "/home/me/w.safetensors"
    with pytest.raises(UserError, match=r"backbone\.weights"):
        check_reachable(arguments, profile(str(tmp_path)))


def test_a_folder_with_a_similar_name_is_not_in_the_volume(arguments: dict[str, Any]) -> None:
    arguments["data"]["root"] = "/database/photos"
    with pytest.raises(UserError, match="no step on the cluster"):
        check_reachable(arguments, profile("/data"))
