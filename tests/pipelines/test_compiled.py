"""What a cluster would get. After a wanted change of a pipeline or component:

regraft compile --out tests/pipelines/golden
regraft compile --shards 2 --out tests/pipelines/golden/sharded
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.compiled import compile_all

ROOT = Path(__file__).parents[2]
GOLDEN = Path(__file__).parent / "golden"
TRAININGS = ["training", "training_without_student"]
MONITORINGS = ["monitoring", "monitoring_without_student"]
NAMES = [*TRAININGS, *MONITORINGS]
BOOLEANS_OF_YAML_1_1 = {"y", "n", "yes", "no", "on", "off", "true", "false"}


def compiled(folder: Path, hash_seed: str) -> dict[str, bytes]:
    """The files that `regraft compile` writes, with Python's hashing seeded."""
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)}
    environment.pop("REGRAFT_IMAGE", None)
    command = [sys.executable, "-m", "regraft.cli.main", "compile", "--out", str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    paths = [Path(line) for line in done.stdout.splitlines()]
    return {path.stem: path.read_bytes() for path in paths}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return compiled(tmp_path_factory.mktemp("first"), "1")


def content(text: bytes) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(text)
    del found["sdkVersion"]
    return found


@pytest.mark.parametrize("name", NAMES)
def test_the_pipeline_is_the_one_that_was_reviewed(name: str, files: dict[str, bytes]) -> None:
    golden = content((GOLDEN / f"{name}.yaml").read_bytes())
    assert content(files[name]) == golden, "wanted? then see the docstring of this file"


@pytest.fixture(scope="module")
def sharded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("sharded")
    return {path.stem: path.read_bytes() for path in compile_all(folder, shards=2)}


@pytest.mark.parametrize("name", NAMES)
def test_the_sharded_pipeline_is_the_one_that_was_reviewed(
    name: str, sharded: dict[str, bytes]
) -> None:
    golden = content((GOLDEN / "sharded" / f"{name}.yaml").read_bytes())
    assert content(sharded[name]) == golden, "wanted? then see the docstring of this file"


def test_shards_differ_in_their_number_and_are_put_together(sharded: dict[str, bytes]) -> None:
    found = content(sharded["training"])
    tasks = found["root"]["dag"]["tasks"]
    (loop,) = [task for task in tasks.values() if "parameterIterator" in task]
    assert yaml.safe_load(loop["parameterIterator"]["items"]["raw"]) == [0, 1]
    parts = tasks["feature-extraction"]["inputs"]["artifacts"]["parts"]["taskOutputArtifact"]
    assert parts["producerTask"] in tasks["feature-extraction"]["dependentTasks"]
    shard = found["components"][loop["componentRef"]["name"]]["dag"]["tasks"]["feature-shard"]
    assert "code_version" in shard["inputs"]["parameters"], "it may be stale"
    assert not {name.lower() for name in parameters(found)} & BOOLEANS_OF_YAML_1_1


def test_compiled_twice_is_equal_to_the_byte(files: dict[str, bytes], tmp_path: Path) -> None:
    assert set(files) == set(NAMES)
    assert compiled(tmp_path, "2") == files


@pytest.mark.parametrize("name", NAMES)
def test_no_parameter_is_a_boolean_to_the_backend(name: str, files: dict[str, bytes]) -> None:
    found = set(parameters(content(files[name])))
    assert {"data_version", "seed"} <= found
    assert not {parameter.lower() for parameter in found} & BOOLEANS_OF_YAML_1_1


def parameters(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for definition in ("inputDefinitions", "outputDefinitions"):
            for kind in ("parameters", "artifacts"):
                yield from node.get(definition, {}).get(kind, {})
        for child in node.values():
            yield from parameters(child)


@pytest.mark.parametrize("name", TRAININGS)
def test_only_the_registration_is_never_cached(name: str, files: dict[str, bytes]) -> None:
    tasks = content(files[name])["root"]["dag"]["tasks"]
    uncached = {key for key, task in tasks.items() if not task["cachingOptions"]}
    assert uncached == {"registration"}
    for key, task in tasks.items():
        assert "code_version" in task["inputs"]["parameters"], f"{key} may be stale"


@pytest.mark.parametrize("name", MONITORINGS)
def test_a_check_is_never_cached_and_the_training_in_it_is(
    name: str, files: dict[str, bytes]
) -> None:
    components = content(files[name])["components"]
    tasks = {key: task for dag in [content(files[name])["root"], *components.values()]
             for key, task in dag.get("dag", {}).get("tasks", {}).items()}  # fmt: skip
    uncached = {key for key, task in tasks.items() if "cachingOptions" in task
                and not task["cachingOptions"]}  # fmt: skip
    asked = {"drift-check", "retraining-data", "retraining-record", "registration"}
    assert uncached == asked
    own = set(content(files["training"])["root"]["dag"]["tasks"])
    if name == "monitoring_without_student":
        own -= {"distillation"}
    assert own - {"registration"} <= set(tasks) - uncached


@pytest.mark.parametrize("name", MONITORINGS)
def test_only_a_bool_decides_and_everything_else_waits_for_it(
    name: str, files: dict[str, bytes]
) -> None:
    found = content(files[name])
    tasks = found["root"]["dag"]["tasks"]
    assert set(tasks) == {"drift-check", "condition-1"}
    condition = tasks["condition-1"]["triggerPolicy"]["condition"]
    assert condition.split() == [
        "inputs.parameter_values['pipelinechannel--drift-check-Output']", "==", "true"
    ]  # fmt: skip
    outputs = found["components"]["comp-drift-check"]["outputDefinitions"]["parameters"]
    assert outputs["Output"]["parameterType"] == "BOOLEAN"


def test_without_a_student_nothing_distils(files: dict[str, bytes]) -> None:
    tasks = {name: set(content(files[name])["root"]["dag"]["tasks"]) for name in TRAININGS}
    assert tasks["training"] - tasks["training_without_student"] == {"distillation"}
    assert tasks["training_without_student"] < tasks["training"]


def test_nothing_is_installed_at_run_time(files: dict[str, bytes]) -> None:
    for text in files.values():
        assert b"pip install" not in text
        assert b"pip3 install" not in text
