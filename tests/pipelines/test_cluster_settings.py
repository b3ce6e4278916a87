"""What a cluster gets with each shipped profile. After a wanted change:

regraft compile --profile infra/profiles/NAME.yaml --out tests/pipelines/golden/NAME
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.compiled import compile_all, compile_one, pipelines
from pipelines.profile import ClusterProfile, load_profile, step_names
from tests.pipelines.test_compiled import BOOLEANS_OF_YAML_1_1, GOLDEN, ROOT, parameters

PROFILES = sorted(path.stem for path in (ROOT / "infra" / "profiles").glob("*.yaml"))
PIPELINES = sorted(pipelines())


def profile_of(name: str) -> ClusterProfile:
    return load_profile(ROOT / "infra" / "profiles" / f"{name}.yaml")


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], str]:
    """The YAML of every pipeline for every profile."""
    found = {}
    for name in PROFILES:
        for path in compile_all(tmp_path_factory.mktemp(name), profile_of(name)):
            found[name, path.stem] = path.read_text()
    return found


@lru_cache  # most of the time of this file is parsing; nobody changes what comes back
def documents(text: str) -> list[dict[str, Any]]:
    found = list(yaml.safe_load_all(text))
    found[0].pop("sdkVersion", None)
    return found


def executors(text: str) -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
    """Step to its container and its settings of Kubernetes."""
    spec, platform = documents(text)
    settings = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    containers = spec["deploymentSpec"]["executors"]
    assert set(settings) == set(containers), "a step without settings"
    return {_step(label): (containers[label]["container"], settings[label]) for label in containers}


def _step(label: str) -> str:
    """Executor labels are the component's name, with a number where it is used twice."""
    name = label.removeprefix("exec-").replace("-", "_")
    return name if name in step_names() else name.rpartition("_")[0]


both = pytest.mark.parametrize("key", [(p, n) for p in PROFILES for n in PIPELINES], ids="/".join)


@both
def test_it_is_the_one_that_was_reviewed(
    key: tuple[str, str], texts: dict[tuple[str, str], str]
) -> None:
    golden = (GOLDEN / key[0] / f"{key[1]}.yaml").read_text()
    assert documents(texts[key]) == documents(golden), "wanted? see the docstring of this file"


def test_there_is_no_golden_file_that_nothing_compiles() -> None:
    files = {path.relative_to(GOLDEN).as_posix() for path in GOLDEN.rglob("*.yaml")}
    plain = {f"{name}.yaml" for name in PIPELINES}
    kinds = [*PROFILES, "sharded"]
    assert files == plain | {f"{kind}/{name}" for kind in kinds for name in plain}


@both
def test_every_step_has_what_the_profile_says(
    key: tuple[str, str], texts: dict[tuple[str, str], str]
) -> None:
    profile = profile_of(key[0])
    for name, (container, settings) in executors(texts[key]).items():
        step = profile.step(name)
        image = (step.image or profile.image).reference()
        assert container["image"] == image, name
        environment = {entry["name"]: entry["value"] for entry in container["env"]}
        assert profile.environment.items() <= environment.items()
        assert environment["OMP_WAIT_POLICY"] == "PASSIVE"
        assert container["resources"]["resourceMemoryLimit"] == step.resources.memory_limit
        accelerator = container["resources"].get("accelerator", {})
        assert int(accelerator.get("resourceCount", 0)) == step.gpu.count, name
        assert settings["securityContext"]["runAsNonRoot"] is True
        assert {claim["constant"] for claim in settings["pvcMount"]} == {
            volume.claim for volume in profile.volumes
        }
        assert {group["secretName"] for group in settings["secretAsEnv"]} == {"mlflow-client"}
        assert settings["imagePullSecret"][0]["secretName"] == "regraft-registry"
        assert int(settings["activeDeadlineSeconds"]) == step.timeout_seconds
        shared = [v for v in settings["emptyDirMounts"] if v["mountPath"] == "/dev/shm"]
        assert [v["sizeLimit"] for v in shared] == ([step.shared_memory] * bool(step.shared_memory))
        selector = settings.get("nodeSelector", {}).get("labels", {})
        assert selector == step.node_selector
        assert len(settings.get("tolerations", [])) == len(step.tolerations)


@both
def test_retries_are_per_step(key: tuple[str, str], texts: dict[tuple[str, str], str]) -> None:
    profile, spec = profile_of(key[0]), documents(texts[key])[0]
    seen = 0
    for label, task in _tasks(spec):
        step = _step("exec-" + label)
        if step in step_names():
            retries = task.get("retryPolicy", {}).get("maxRetryCount", 0)
            assert retries == profile.step(step).retries.count, label
            seen += 1
    assert seen >= 6


def _tasks(node: Any) -> list[tuple[str, dict[str, Any]]]:
    if not isinstance(node, dict):
        return []
    own = [(task["componentRef"]["name"].removeprefix("comp-"), task)
           for task in node.get("dag", {}).get("tasks", {}).values()]  # fmt: skip
    return own + [found for child in node.values() for found in _tasks(child)]


@both
def test_the_run_is_cleaned_up(key: tuple[str, str], texts: dict[tuple[str, str], str]) -> None:
    config = documents(texts[key])[1]["platforms"]["kubernetes"]["pipelineConfig"]
    profile = profile_of(key[0])
    assert config["resourceTtlOnCompletion"] == profile.ttl_seconds_after_finished
    assert config["activeDeadlineSeconds"] == profile.run_timeout_seconds


@both
def test_nothing_that_must_not_be_there(
    key: tuple[str, str], texts: dict[tuple[str, str], str]
) -> None:
    text = texts[key]
    spec = documents(text)[0]
    assert not {name.lower() for name in parameters(spec)} & BOOLEANS_OF_YAML_1_1
    for container, _ in executors(text).values():
        assert not container["image"].endswith(":latest")
        assert ":" in container["image"].rsplit("/", 1)[-1]
        assert "pip install" not in " ".join([*container["command"], *container["args"]])
        for entry in container["env"]:
            assert not {"PASSWORD", "SECRET", "TOKEN"} & set(entry["name"].split("_"))


def test_shards_have_the_settings_of_every_step(tmp_path: Path) -> None:
    """Also inside of the loop, which is a pipeline of its own in the YAML."""
    profile = profile_of("cluster")
    path = compile_one("training_without_student", tmp_path, profile, shards=3)
    container, settings = executors(path.read_text())["feature_shard"]
    assert container["image"] == profile.image.reference()
    assert settings["securityContext"]["runAsNonRoot"] is True
    assert {claim["constant"] for claim in settings["pvcMount"]} == {
        "regraft-data",
        "regraft-state",
    }


def test_a_profile_changes_settings_and_nothing_else(
    texts: dict[tuple[str, str], str], tmp_path: Path
) -> None:
    """The same steps, wires and code: a user who outgrows one machine changes configuration."""
    for path in compile_all(tmp_path):
        plain = documents(path.read_text())[0]
        for name in PROFILES:
            placed = documents(texts[name, path.stem])[0]
            assert _wires(placed) == _wires(plain)


def _wires(node: Any) -> Any:
    """A pipeline without images, environments, resources and retries."""
    if isinstance(node, list):
        return [_wires(child) for child in node]
    if not isinstance(node, dict):
        return node
    settings = {"image", "env", "resources", "retryPolicy"}
    return {key: _wires(child) for key, child in node.items() if key not in settings}
