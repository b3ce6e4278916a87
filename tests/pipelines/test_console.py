"""A person sees steps and notes; the log has everything else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipelines.console import Console
from regraft.progress import MARKER


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log.txt"


def event(**values: Any) -> str:
    return MARKER + json.dumps(values) + "\n"


def progress(done: int) -> str:
    return event(event="progress", description="features", done=done, total=9, eta_seconds=4.2)


def test_a_note_is_shown_and_logged_without_its_marker(
    log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Console(log, 7) as console:
        console.write("    " + event(event="note", text="32 of 32 examples are usable"))
    assert "32 of 32 examples are usable" in capsys.readouterr().err
    assert "32 of 32 examples are usable" in log.read_text()
    assert MARKER not in log.read_text()


def test_everything_else_goes_to_the_log_only(
    log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Console(log, 7) as console:
        console.write("Traceback: something\nsecond line\n")
    assert capsys.readouterr().err == ""
    assert log.read_text() == "Traceback: something\nsecond line\n"


def test_lines_may_arrive_in_pieces(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = event(event="note", text="one sentence")
    with Console(log, 7) as console:
        for letter in text:
            console.write(letter)
    assert "one sentence" in capsys.readouterr().err


def test_steps_are_counted_as_they_start_or_are_cached(
    log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Console(log, 7) as console:
        console.write("10:40:05.1 - INFO - Executing task \x1b[96m'data-validation'\x1b[0m\n")
        console.write("Task feature-extraction cache hit (key=31d7f14d451b); skipping execution.\n")
    shown = capsys.readouterr().err.splitlines()
    assert shown[0] == "[1/7] data validation"
    assert shown[1].startswith("[2/7] feature extraction")
    assert "cache" in shown[1]


def test_progress_off_a_terminal_is_an_occasional_line(
    log: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr("pipelines.console.time.monotonic", lambda: now[0])
    with Console(log, 7) as console:
        console.write(progress(1))
        capsys.readouterr()
        console.write(progress(2))
        assert capsys.readouterr().err == ""
        now[0] += 20
        console.write(progress(3))
        shown = capsys.readouterr().err
    assert "features: 3/9" in shown
    assert "4 s left" in shown
    assert log.read_text() == ""


def test_a_line_without_an_end_is_not_lost(log: Path) -> None:
    with Console(log, 7) as console:
        console.write("the last words")
    assert "the last words" in log.read_text()


def test_a_broken_marker_line_is_logged_not_fatal(log: Path) -> None:
    with Console(log, 7) as console:
        console.write(MARKER + "{not json\n")
    assert "{not json" in log.read_text()
