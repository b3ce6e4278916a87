"""`docker/with_engine.sh` where no engine can be had: it says so and fails, it never skips."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "docker" / "with_engine.sh"


def call(folder: Path, tools: dict[str, str], *command: str) -> subprocess.CompletedProcess[str]:
    """The script with stand-ins (name to shell text) before everything on the path."""
    for name, text in tools.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "TMPDIR": str(folder)}
    return subprocess.run(
        [str(SCRIPT), *command], env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("tools", "words"),
    [
        ({"docker": "exit 1", "id": "echo 1000"}, ["only root can start one", "docker info"]),
        (
            {"docker": "exit 1", "id": "echo 0", "df": "echo Avail; echo 1000000"},
            ["too little disk", "TMPDIR=", "0 GB free"],
        ),
    ],
)
def test_without_an_engine_the_command_is_not_run(
    tools: dict[str, str], words: list[str], tmp_path: Path
) -> None:
    done = call(tmp_path, tools, "touch", str(tmp_path / "ran"))
    assert done.returncode == 2
    for word in words:
        assert word in done.stderr
    assert not (tmp_path / "ran").exists()
    assert not list(tmp_path.glob("regraft-engine.*")), "its folder is removed"


def test_an_engine_that_answers_is_used(tmp_path: Path) -> None:
    done = call(tmp_path, {"docker": "exit 0"}, "sh", "-c", "echo ran; exit 7")
    assert (done.returncode, done.stdout) == (7, "ran\n")


def test_ci_runs_the_containers_after_the_tests() -> None:
    text = (SCRIPT.parents[1] / ".ci" / "run").read_text()
    assert 0 < text.index("make test ") < text.index("make test-containers ")
