"""What a step leaves behind about itself, and that it does not outlive its run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from regraft.errors import UserError
from regraft.steps.recording import recorded


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REGRAFT_STEP_RECORDS", str(tmp_path / "records"))
    return tmp_path / "records"


def record(folder: Path, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / f"{name}.json").read_text())
    return found


def test_a_step_that_ends_well(folder: Path) -> None:
    with recorded("evaluation"):
        pass
    found = record(folder, "evaluation")
    assert (found["name"], found["status"]) == ("evaluation", "done")
    assert found["seconds"] > 0
    assert found["cpu_seconds"] > 0


@pytest.mark.parametrize(
    ("error", "user_error"),
    [(UserError("no photos", where="data.root"), True), (ValueError("shapes"), False),
     (KeyboardInterrupt(), False)],
)  # fmt: skip
def test_a_step_that_fails_says_why_and_fails(
    error: BaseException, user_error: bool, folder: Path
) -> None:
    with pytest.raises(type(error)), recorded("evaluation"):
        raise error
    found = record(folder, "evaluation")
    assert found["status"] == "failed"
    assert found["user_error"] is user_error
    assert found["error_type"] == type(error).__name__
    assert found["error"] == (str(error) or type(error).__name__)


def test_on_a_cluster_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REGRAFT_STEP_RECORDS", raising=False)
    monkeypatch.chdir(tmp_path)
    with recorded("evaluation"):
        pass
    assert list(tmp_path.iterdir()) == []


STEP = """
import os, time
from regraft.steps.recording import recorded
with recorded("evaluation"):
    print(os.getpid(), flush=True)
    time.sleep(60)
"""


def test_a_step_ends_when_nobody_reads_it_any_more(folder: Path) -> None:
    """As when the run is killed: the shell between them lives on, so it cannot be the signal."""
    process = subprocess.Popen([sys.executable, "-c", STEP], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(0.2)
    assert process.poll() is None
    process.stdout.close()
    assert process.wait(timeout=10) == 1
    assert not (folder / "evaluation.json").exists(), "an ended step counts as killed"


def test_a_step_whose_output_is_a_file_is_left_alone(folder: Path, tmp_path: Path) -> None:
    with (tmp_path / "out.txt").open("wb") as file:
        process = subprocess.Popen([sys.executable, "-c", STEP], stdout=file)
    while not (tmp_path / "out.txt").read_bytes():
        time.sleep(0.01)
    time.sleep(0.3)
    assert process.poll() is None
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
