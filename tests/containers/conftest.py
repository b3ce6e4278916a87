"""Images that are really built and runs that really use them: `make test-containers`."""

from __future__ import annotations

import json
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.support import ROOT, Project

TAG = "test"
TARGETS = ("steps-data", "steps-cpu", "serve")
WITHOUT_TORCH = ("data_validation", "domain_shift_detection")
NAME = "plant_disease"
SMALL = (
    f"data.root={ROOT / 'data' / 'leaves' / 'lab'}",
    "data.images_per_class=8",
    "finetune.min_labels_per_class=0",
    "finetune.plan.depths=[1]",
    "finetune.plan.epochs=[1]",
    "distillation.epochs=2",
    "evaluation.latency_images=4",
)
"""The embedded default with its generated leaves, as little of it as goes through every step."""

_figures: list[str] = []


def measured(text: str) -> None:
    """Print a figure at the end of the tests."""
    _figures.append(text)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if _figures:
        terminalreporter.section("measured")
        for text in _figures:
            terminalreporter.write_line(text)


def docker(*arguments: str) -> str:
    """What a docker command prints; the test fails with its last words where it fails."""
    command = ["docker", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{(done.stdout + done.stderr)[-3000:]}"
    return done.stdout.strip()


def inspected(kind: str, name: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = json.loads(docker(kind, "inspect", name))
    return found[0]


@pytest.fixture(scope="session")
def images() -> dict[str, str]:
    """Target to the image that was built of it."""
    found = {}
    for target in TARGETS:
        found[target] = f"regraft/{target}:{TAG}"
        started = time.monotonic()
        docker("build", "--network", "host", "--file", "docker/Dockerfile", "--target", target,
               "--tag", found[target], ".")  # fmt: skip
        seconds = time.monotonic() - started
        gigabytes = inspected("image", found[target])["Size"] / 1e9
        measured(f"image {target:<10} {gigabytes:.2f} GB, built in {seconds:.0f} s")
    return found


@dataclass(frozen=True)
class Run:
    """A training by the command line, with what the engine saw of it."""

    project: Project
    summary: dict[str, Any]
    events: list[dict[str, Any]]

    def containers(self, action: str) -> list[dict[str, Any]]:
        """Attributes of the engine's events of this run's steps, each with id and seconds."""
        folder = str(self.project.folder / "run")
        return [
            event["Actor"]["Attributes"]
            | {"id": event["Actor"]["ID"], "seconds": event["timeNano"] / 1e9}
            for event in self.events
            if event["Type"] == "container" and event["Action"] == action
            if event["Actor"]["Attributes"].get("dev.regraft.run") == folder
        ]

    def networks(self) -> list[str]:
        """Names of the networks that this run's steps joined."""
        own = {event["id"] for event in self.containers("create")}
        return [
            event["Actor"]["Attributes"]["name"]
            for event in self.events
            if event["Type"] == "network" and event["Action"] == "connect"
            if event["Actor"]["Attributes"]["container"] in own
        ]


def trained(folder: Path, *options: str) -> Run:
    project = Project(folder, per_class=1)
    started = time.time()
    result = project.start(
        "run", str(ROOT / "recipes" / f"{NAME}.yaml"), *SMALL, *options, "--out",
        str(folder / "run"),
    ).wait(1200)  # fmt: skip
    assert result.code == 0, result.text
    lines = docker("events", "--since", f"{started:.3f}", "--until", f"{time.time():.3f}",
                   "--format", "{{json .}}").splitlines()  # fmt: skip
    return Run(project, project.summary(), [json.loads(line) for line in lines])


@pytest.fixture(scope="session")
def in_processes(tmp_path_factory: pytest.TempPathFactory, images: dict[str, str]) -> Run:
    return trained(tmp_path_factory.mktemp("processes") / "project")


@pytest.fixture(scope="session")
def in_containers(tmp_path_factory: pytest.TempPathFactory, images: dict[str, str]) -> Run:
    folder = tmp_path_factory.mktemp("containers")
    profile = folder / "images.yaml"
    light = {"image": {"name": "regraft/steps-data", "tag": TAG}}
    values = {
        "namespace": "regraft",
        "image": {"name": "regraft/steps-cpu", "tag": TAG},
        "steps": dict.fromkeys(WITHOUT_TORCH, light),
    }
    profile.write_text(yaml.safe_dump(values), encoding="utf-8")
    return trained(folder / "project", "--runner", "docker", "--profile", str(profile))
