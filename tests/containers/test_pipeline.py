"""The training pipeline in containers, started as a user does: the same result as in processes."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from pipelines.local import STEPS
from tests.containers.conftest import NAME, TAG, WITHOUT_TORCH, Run, measured

pytestmark = [pytest.mark.containers, pytest.mark.timeout(1800)]


TIMES = {"cost", "speedup"}
"""Sections of the metrics that say how fast a model is, which no two runs agree on."""


def numbers(node: Any, path: str = "") -> dict[str, float]:
    """Every number of nested JSON by its path, except times."""
    if isinstance(node, dict):
        items = [(key, child) for key, child in node.items() if key not in TIMES]
    elif isinstance(node, list):
        items = [(str(index), child) for index, child in enumerate(node)]
    else:
        return {path: node} if isinstance(node, int | float) else {}
    return {key: value for name, child in items
            for key, value in numbers(child, f"{path}/{name}").items()}  # fmt: skip


def test_the_outputs_are_there(in_containers: Run) -> None:
    """The runner's own word is not enough: it calls a container that vanished a success."""
    summary = in_containers.summary
    assert [step["name"] for step in summary["steps"]] == STEPS
    assert {(step["status"], step["cached"]) for step in summary["steps"]} == {("done", False)}
    for paths in (summary["reports"], summary["artifacts"]):
        assert len(paths) >= 5
        for path in map(Path, paths.values()):
            assert any(path.iterdir()) if path.is_dir() else path.stat().st_size > 0, path
    assert summary["decision"]["outcome"] == "first"


def test_the_registry_outside_knows_the_champion(in_containers: Run) -> None:
    result = in_containers.project.call("history", NAME, "--json")
    assert result.code == 0, result.text
    (entry,) = json.loads(result.output)
    assert (entry["outcome"], entry["candidate_version"]) == ("first", "1")


def test_the_same_recipe_gives_the_same_metrics(in_containers: Run, in_processes: Run) -> None:
    found, expected = (numbers(run.summary["metrics"]) for run in (in_containers, in_processes))
    assert len(expected) > 20
    assert any("accuracy" in key for key in expected)
    assert found == pytest.approx(expected, abs=1e-4)
    for key in ("recipe", "code_version", "data_version", "served"):
        assert in_containers.summary[key] == in_processes.summary[key], key


def test_every_step_runs_in_the_image_that_is_configured(
    in_containers: Run, in_processes: Run
) -> None:
    images = Counter(event["image"] for event in in_containers.containers("create"))
    light = len(WITHOUT_TORCH)
    assert images == {
        f"regraft/steps-data:{TAG}": light,
        f"regraft/steps-cpu:{TAG}": len(STEPS) - light,
    }
    assert not in_processes.containers("create")


def test_no_step_has_a_network(in_containers: Run) -> None:
    assert in_containers.networks() == ["none"] * len(STEPS)


def test_nothing_is_left_running(in_containers: Run) -> None:
    created, gone = (
        {event["id"] for event in in_containers.containers(action)}
        for action in ("create", "destroy")
    )
    assert len(created) == len(STEPS)
    assert created == gone


def test_what_a_container_costs(in_containers: Run, in_processes: Run) -> None:
    """From the creation of a container to its end, minus the step's own process, imports
    included. The bound is loose because the machine may be busy; the aim is 1.5 s."""
    ends = {event["id"]: event["seconds"] for event in in_containers.containers("die")}
    lives = [ends[event["id"]] - event["seconds"] for event in in_containers.containers("create")]
    processes = [step["seconds"] for step in in_containers.summary["steps"]]
    overhead = (sum(lives) - sum(processes)) / len(lives)
    measured(f"container's overhead per step: {overhead:.2f} s beyond imports and work")
    for name, run in (("processes", in_processes), ("containers", in_containers)):
        cpu = sum(step["cpu_seconds"] for step in run.summary["steps"])
        assert run.summary["cpu_seconds"] >= cpu
        measured(f"run in {name:<10} {run.summary['seconds']:.0f} s, {cpu:.0f} CPU s in its steps")
    assert 0 < overhead < 10
