"""The Dockerfile as text: what can be said without building it."""

from __future__ import annotations

import ast
import re
import runpy
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from pipelines.profile import load_profile, step_names
from regraft.steps.hardware import PROCESS_ENVIRONMENT

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docker" / "Dockerfile").read_text(encoding="utf-8")
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
_PINNED = runpy.run_path(str(ROOT / "docker" / "pinned.py"))  # `docker` is a library's name
pinned, for_gpus = _PINNED["pinned"], _PINNED["for_gpus"]
IMAGES = ["steps-data", "steps-cpu", "steps-gpu", "train", "serve", "mlflow"]
BASE = "python:3.11-slim-bookworm"
IMPORT_OF = {
    "PIL": "pillow",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
    "multipart": "python-multipart",
}


def stages() -> dict[str, list[tuple[str, str]]]:
    """Stage to its instructions (keyword, rest); comments gone, continued lines joined."""
    lines = re.sub(r"(?m)^\s*#.*\n", "", TEXT)
    found: dict[str, list[tuple[str, str]]] = {}
    name = ""
    for line in re.sub(r"\\\n", " ", lines).splitlines():
        keyword, _, rest = line.strip().partition(" ")
        if keyword == "FROM":
            name = rest.split()[-1]
            found[name] = []
        if keyword:
            found.setdefault(name, []).append((keyword, rest.strip()))
    return found


STAGES = stages()


def lineage(stage: str) -> list[tuple[str, str]]:
    """The instructions of a stage after those of the stages it is made from."""
    parent = STAGES[stage][0][1].split()[0]
    return [*(lineage(parent) if parent in STAGES else []), *STAGES[stage]]


def environment_of(stage: str) -> str:
    """The build stage whose environment an image has; the library lies over it."""
    sources = re.findall(r"--from=(\S+)", " ".join(rest for _, rest in lineage(stage)))
    assert sources[1:] == ([] if stage == "mlflow" else ["library"]), sources
    return str(sources[0])


def extras_of(stage: str) -> list[str]:
    text = " ".join(rest for _, rest in lineage(environment_of(stage)))
    return " ".join(re.findall(r"pinned\.py \S+ ((?:\w+ )+)> group\.txt", text)).split()


def test_it_can_be_built_where_no_registry_is_reached() -> None:
    assert "# syntax=" not in TEXT
    bases = {instructions[0][1].split()[0] for name, instructions in STAGES.items() if name}
    assert bases - set(STAGES) == {BASE}, "one base image, with its version"


@pytest.mark.parametrize("image", IMAGES)
def test_an_image(image: str) -> None:
    instructions = lineage(image)
    users = [rest for keyword, rest in instructions if keyword == "USER"]
    assert users[-1:] == ["10001:10001"], "as a number: Kubernetes cannot check names"
    labels = " ".join(rest for keyword, rest in instructions if keyword == "LABEL")
    for label in ("title", "description", "version", "revision", "licenses"):
        assert f"org.opencontainers.image.{label}=" in labels
    own_runs = [rest for keyword, rest in instructions if keyword == "RUN"]
    assert not re.search(r"\b(pip|uv|apt-get|gcc)\b", " ".join(own_runs)), "built in another stage"
    variables = " ".join(rest for keyword, rest in instructions if keyword == "ENV")
    for name, value in PROCESS_ENVIRONMENT.items():
        assert f"{name}={value}" in variables


def test_every_package_is_checked_against_a_hash() -> None:
    for name, instructions in STAGES.items():
        for keyword, rest in instructions:
            for command in re.split(r"&&", rest if keyword == "RUN" else ""):
                if re.search(r"pip install", command) and "--no-index" not in command:
                    assert "--require-hashes" in command, f"{name}: {command}"
                if "pip wheel" in command:
                    assert "--no-deps" in command and "--no-build-isolation" in command


def test_the_server_is_watched_and_the_trainer_starts_torchrun() -> None:
    health = [rest for keyword, rest in STAGES["serve"] if keyword == "HEALTHCHECK"]
    assert len(health) == 1 and "/healthz" in health[0]
    assert ("ENTRYPOINT", '["torchrun"]') in STAGES["train"]


@pytest.mark.parametrize("image", IMAGES)
def test_what_an_image_installs_is_pinned(image: str) -> None:
    lines = pinned(PROJECT, LOCK, extras_of(image))
    assert len(lines) > 10
    for line in lines:
        assert re.match(r"^[a-z0-9-]+(\[[a-z,]+\])?==\S+( ; .+)?$", line), line


def test_an_unknown_extra_or_package_is_refused() -> None:
    with pytest.raises(SystemExit, match="no extra trian"):
        pinned(PROJECT, LOCK, ["trian"])
    with pytest.raises(SystemExit, match="lock has no pillow"):
        pinned(PROJECT, LOCK.replace("\npillow==", "\nwillow=="), [])


def test_only_what_needs_torch_has_it() -> None:
    with_torch = {image for image in IMAGES if "train" in extras_of(image)}
    assert with_torch == {"steps-cpu", "steps-gpu", "train", "serve"}


def test_what_only_gpus_need_is_left_out_of_the_images_without_one() -> None:
    found = for_gpus(LOCK)
    assert {"triton", "nvidia-cudnn-cu13", "nvidia-cublas"} <= set(found)
    assert not {"torch", "nvidia-cuda-runtime", "nvidia-cuda-cupti"} & set(found)
    for image in IMAGES:
        text = " ".join(rest for _, rest in lineage(environment_of(image)))
        has_torch = "train" in extras_of(image)
        assert ("--excludes gpu.txt" in text) == (has_torch and image in {"steps-cpu", "serve"})


@pytest.mark.parametrize("profile", ["cluster", "cluster_gpu"])
def test_every_step_finds_its_imports_in_its_image(profile: str) -> None:
    """Everything that a component's code can import is a dependency of the image it runs in."""
    found = load_profile(ROOT / "infra" / "profiles" / f"{profile}.yaml")
    for step in step_names():
        image = (found.step(step).image or found.image).name.rpartition("/")[2]
        assert missing(image, f"components.{step}.component") <= {"kfp"}, f"{step} in {image}"


@pytest.mark.parametrize("image", ["steps-cpu", "steps-gpu"])
def test_a_step_that_submits_finds_its_imports_in_its_image(image: str) -> None:
    assert missing(image, "pipelines.train_job") <= {"kfp"}


def test_the_whole_run_finds_its_imports_in_the_image_that_compose_runs() -> None:
    """Except those of the runner that starts containers, which needs an engine."""
    assert missing("steps-cpu", "pipelines.local") <= {"docker"}


def test_the_server_finds_its_imports_in_its_image() -> None:
    assert missing("serve", "regraft.serving.start") == set()
    assert "fastapi" in missing("steps-cpu", "regraft.serving.start"), "the check finds something"


def missing(image: str, module: str) -> set[str]:
    """Libraries that a module can come to import and the image does not have."""
    has = {re.split(r"[=\[ ]", line)[0] for line in pinned(PROJECT, LOCK, extras_of(image))}
    wanted = {name: IMPORT_OF.get(name, name).replace("_", "-").lower()
              for name in _libraries(module)}  # fmt: skip
    return {name for name, wish in wanted.items() if not {wish, _BROUGHT_ALONG.get(wish)} & has}


_BROUGHT_ALONG = {
    "h11": "uvicorn",
    "kubeflow-trainer-api": "kubeflow",
    "kubernetes": "kubeflow",
    "urllib3": "kubeflow",
    "huggingface-hub": "timm",
    "markupsafe": "jinja2",
    "requests": "mlflow",
    "sqlalchemy": "mlflow",
    "starlette": "fastapi",
}
"""A library that comes as a dependency of another."""


def _libraries(start: str) -> set[str]:
    """Top-level names of third-party modules that a module of ours can come to import."""
    seen: set[str] = set()
    found: set[str] = set()
    waiting = [start]
    while waiting:
        module = waiting.pop()
        path = _file(module)
        if path is None:
            found.add(module.split(".")[0])
        elif module not in seen:
            seen.add(module)
            waiting += [*_imports(path), *_parents(module)]
    return found - set(sys.stdlib_module_names) - {"regraft", "components", "pipelines"}


def _file(module: str) -> Path | None:
    path = ROOT / Path(*module.split("."))
    return next((p for p in (path.with_suffix(".py"), path / "__init__.py") if p.is_file()), None)


def _parents(module: str) -> list[str]:
    parts = module.split(".")
    return [".".join(parts[:end]) for end in range(1, len(parts))]


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_the_context_holds_what_is_copied_and_nothing_else() -> None:
    """.dockerignore starts with everything; no data, recipe, environment or secret gets in."""
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines()
             if line and not line.startswith("#")]  # fmt: skip
    assert rules[0] == "*"
    kept = {rule[1:] for rule in rules if rule.startswith("!")}
    copied = {
        word.split("/")[0]
        for instructions in STAGES.values()
        for keyword, rest in instructions
        if keyword == "COPY" and "--from" not in rest
        for word in rest.split()[:-1]
    }
    assert copied - {"*.lock"} <= kept
    assert kept <= copied | {"requirements.lock", ".venv-cpu.lock"}


def test_compose_builds_targets_that_exist() -> None:
    compose = yaml.safe_load((ROOT / "infra" / "compose.yaml").read_text(encoding="utf-8"))
    targets = {s["build"]["target"] for s in compose["services"].values() if "build" in s}
    assert targets and targets <= set(IMAGES)
