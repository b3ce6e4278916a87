"""The verbs of the live side: what is refused, what is told, how the loop ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from regraft.cli.monitor import monitoring_table, pause_seconds
from regraft.errors import UserError


@pytest.mark.parametrize(("text", "seconds"), [("30s", 30), ("10m", 600), ("6h", 21600),
                                               ("1d", 86400)])  # fmt: skip
def test_pauses(text: str, seconds: int) -> None:
    assert pause_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "10", "0m", "-5m", "1.5h", "10 minutes", "m"])
def test_pauses_that_are_none(text: str) -> None:
    with pytest.raises(UserError, match="30s, 10m, 6h, 1d"):
        pause_seconds(text)


SUMMARY: dict[str, Any] = {
    "drifted": True, "reason": "embeddings differ", "windows": [], "new_examples": 120,
    "labels": 15, "retrained": True, "why_not": "", "reports": {"drift": "runs/drift.html"},
    "decision": {"candidate_version": "2", "outcome": "promote", "reason": "better by 30 points"},
}  # fmt: skip


def test_a_person_reads_what_was_found_and_done() -> None:
    text = monitoring_table(SUMMARY)
    for part in ("yes: embeddings differ", "120 examples, 15 labelled", "version 2: promote",
                 "better by 30 points", "runs/drift.html"):  # fmt: skip
        assert part in text
    waiting = SUMMARY | {"retrained": False, "decision": None, "why_not": "the cool-down of 24 h"}
    assert "retrained  no: the cool-down of 24 h" in monitoring_table(waiting)
    calm = waiting | {"drifted": False, "reason": "no shift in 9 tests"}
    assert monitoring_table(calm).splitlines()[0] == "drift      no: no shift in 9 tests"
    assert "retrained" not in monitoring_table(calm)


FAKE = """
import sys, time
from pathlib import Path
import pipelines.watching as watching
from regraft.cli.main import main

log = Path({log!r})
check = ("import sys, time; open(sys.argv[1], 'a').write('check\\\\n'); "
         "time.sleep({seconds}); sys.exit({code})")
real = watching.subprocess.Popen
watching.subprocess.Popen = lambda command, **more: real(
    [sys.executable, "-c", check, str(log)], **more)
sys.argv = ["regraft", "watch", {recipe!r}, "--every", "1s"]
main()
"""


def watching(folder: Path, *, seconds: float, code: int) -> tuple[subprocess.Popen[str], Path]:
    """`regraft watch` whose checks are a script that takes `seconds` and ends with `code`."""
    recipe = folder / "leaf.yaml"
    recipe.write_text("name: leaf\ndata: {root: photos}\n")
    log = folder / "log.txt"
    log.touch()
    text = FAKE.format(log=str(log), seconds=seconds, code=code, recipe=str(recipe))
    process = subprocess.Popen(
        [sys.executable, "-c", text], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip
    return process, log


def until(condition: Any, process: subprocess.Popen[str], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_failing_check_does_not_end_the_loop_and_a_signal_does(
    tmp_path: Path, number: signal.Signals
) -> None:
    process, log = watching(tmp_path, seconds=0, code=1)
    until(lambda: log.read_text().count("check") >= 2, process)
    process.send_signal(number)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert "failed with exit code 1; the next one is made all the same" in output
    assert "ended after" in output


def test_a_signal_ends_the_running_check_too(tmp_path: Path) -> None:
    process, log = watching(tmp_path, seconds=600, code=0)
    until(lambda: log.read_text() == "check\n", process)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert "failed" not in output


def refused(arguments: list[str], folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "regraft.cli.main", *arguments], cwd=folder, capture_output=True,
        text=True, check=False, env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]),
                                     "REGRAFT_HOME": str(folder / "home")},
    )  # fmt: skip
    assert done.returncode == 2, done
    return done.stderr


def test_what_excludes_each_other_is_refused(tmp_path: Path) -> None:
    (tmp_path / "leaf.yaml").write_text("name: leaf\ndata: {root: photos}\n")
    found = refused(["monitor", "leaf.yaml", "--window", "x", "--since", "2026-01-01"], tmp_path)
    assert "exclude each other" in found
    assert "30s, 10m" in refused(["watch", "leaf.yaml", "--every", "often"], tmp_path)


def test_a_second_check_of_a_model_does_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipelines import local_monitoring
    from regraft.recipe import Recipe

    monkeypatch.setenv("REGRAFT_HOME", str(tmp_path / "home"))
    recipe = Recipe.model_validate({"name": "leaf", "data": {"root": "photos"}})
    inside, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with local_monitoring._only_one("leaf") as alone:
            assert alone
            inside.set()
            leave.wait(60)

    holder = threading.Thread(target=hold)
    holder.start()
    assert inside.wait(60)
    found = local_monitoring.run_monitoring(recipe, tmp_path / "out")
    leave.set()
    holder.join()
    assert found["why_not"] == "another check of this model is running"
    assert not found["retrained"]
    assert not (tmp_path / "out").exists()
    with local_monitoring._only_one("leaf") as alone:
        assert alone, "it is free again"
