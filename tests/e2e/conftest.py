"""Runs that several tests look at, made once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from tests.e2e.support import Project, Result


@dataclass(frozen=True)
class Finished:
    """Two runs that were started at the same time on an empty registry, seeds 0 and 1."""

    project: Project
    results: list[Result]
    summaries: list[dict[str, Any]]
    history: list[dict[str, Any]]


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    project = Project(tmp_path_factory.mktemp("two runs"))
    commands = [project.start_run(f"seed={seed}", out=f"run{seed}") for seed in (0, 1)]
    results = [command.wait() for command in commands]
    for result in results:
        assert result.code == 0, result.text
    summaries = [project.summary(f"run{seed}") for seed in (0, 1)]
    return Finished(project, results, summaries, project.history())


@pytest.fixture
def project(finished: Finished) -> Project:
    """The project of the finished runs; `seed=0` into `run0` is what they did."""
    return finished.project
