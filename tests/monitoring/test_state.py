from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from regraft.errors import UserError
from regraft.monitoring import state
from regraft.monitoring.state import State


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGRAFT_HOME", str(tmp_path))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def entry(number: int, version: str = "1") -> dict[str, Any]:
    return {"version": version, "last_sequence": number * 10 + 9, "ids": [f"{number}"]}


def test_a_state_survives_and_begins_empty() -> None:
    assert state.read("m") == State()
    known = State()
    known.add([entry(0), entry(1, version="2")])
    state.write("m", known)
    assert state.read("m") == known
    assert state.read("m").of_version("2") == [entry(1, version="2")]


def test_ids_are_kept_of_the_latest_windows_and_a_number_of_the_others() -> None:
    known = State()
    for number in range(30):
        known.add([entry(number)])
    assert known.seen_ids == {str(k) for k in range(10, 30)}
    assert known.seen_up_to == 99


def test_a_broken_file_says_what_to_do() -> None:
    (state.folder("m")).mkdir(parents=True)
    (state.folder("m") / "state.json").write_text('{"windows": [')
    with pytest.raises(UserError, match="move it away"):
        state.read("m")


def test_a_second_monitor_waits_and_then_says_so() -> None:
    code = (
        "from regraft.monitoring import state\nwith state.held('m'): print(1, flush=True); input()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout is not None and other.stdout.readline()
    with pytest.raises(UserError, match="monitoring of m"), state.held("m", timeout_seconds=0.1):
        pass
    other.kill()  # the lock of a killed process is free
    other.communicate()
    with state.held("m", timeout_seconds=10):
        pass
