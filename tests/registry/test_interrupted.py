"""Moves by hand that are killed, a registry that is locked or gone: nothing is lost or doubled."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from regraft.errors import UserError
from regraft.registry import champions, ledger, pins, store, versions

from .support import Killed, better, die_after, equal, never, register

Command = Callable[[], ledger.Entry]
PLACES: list[tuple[Any, str]] = [
    (champions, "by_hand"),
    (champions, "_set_alias"),
    (ledger, "mark"),
]
COMMANDS: dict[str, tuple[Command, str, str]] = {
    "promote": (lambda: champions.promote("plants", "3", reason="it is wanted"), "promote", "3"),
    "rollback": (lambda: champions.rollback("plants"), "rollback", "1"),
    "rollback to": (lambda: champions.rollback("plants", "1"), "rollback", "1"),
    "pin": (lambda: pins.pin("plants", reason="audit"), "pin", "2"),
}


@pytest.fixture
def three(registry: Path, model_folder: Path) -> None:
    """Version 1 was champion, 2 is, 3 was held."""
    for key, compare in (("a", never), ("b", better), ("c", equal)):
        register(key, model_folder, compare)


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
@pytest.mark.parametrize("place", PLACES, ids=[name for _, name in PLACES])
def test_a_killed_command_is_finished_by_the_same_command(
    three: None,
    place: tuple[Any, str],
    command: tuple[Command, str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    call, outcome, champion = command
    if outcome == "pin" and place[1] == "_set_alias":
        pytest.skip("a pin moves no alias")
    with monkeypatch.context() as patch, pytest.raises(Killed):
        die_after(*place, patch)
        call()
    assert versions.champion("plants") in {"2", champion}

    entries = ledger.entries("plants")
    if entries[-1].state == ledger.DONE:
        champions.history("plants")  # killed after the last write: nothing is left to do
    else:
        call()

    entries = ledger.entries("plants")
    assert [entry.outcome for entry in entries[3:]] == [outcome]
    assert entries[-1].state == ledger.DONE
    assert versions.champion("plants") == champion


@pytest.mark.parametrize("place", PLACES, ids=[name for _, name in PLACES])
def test_a_killed_rollback_is_finished_by_the_next_registration(
    three: None, model_folder: Path, place: tuple[Any, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch, pytest.raises(Killed):
        die_after(*place, patch)
        champions.rollback("plants")

    found = register("d", model_folder, equal)

    assert found["champion_version"] == found["champion_after"] == "1"
    assert {entry.state for entry in ledger.entries("plants")} == {ledger.DONE}


PROGRAM = """
import os, signal, sys
from regraft.registry import champions, ledger

place, name = sys.argv[1].split(":")
module = {"champions": champions, "ledger": ledger}[place]
original = getattr(module, name)

def die(*arguments, **named):
    original(*arguments, **named)
    os.kill(os.getpid(), signal.SIGKILL)

setattr(module, name, die)
champions.rollback("plants")
"""


@pytest.mark.e2e
@pytest.mark.parametrize("place", ["champions:by_hand", "champions:_set_alias", "ledger:mark"])
def test_kill_9_of_a_rollback(three: None, place: str) -> None:
    root = Path(__file__).parents[2]
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PROGRAM), place],
        cwd=root, env={**os.environ, "PYTHONPATH": str(root)}, timeout=300, check=False,
    )  # fmt: skip
    assert ended.returncode == -signal.SIGKILL
    if place != "ledger:mark":
        champions.rollback("plants")
    assert versions.champion("plants") == "1"
    assert [entry.outcome for entry in ledger.entries("plants")[3:]] == ["rollback"]
    assert {entry.state for entry in ledger.entries("plants")} == {ledger.DONE}


def test_an_unfinished_promotion_of_the_gate_yields_to_a_pin(
    three: None, model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another machine pins between the gate's decision and the alias."""
    append = ledger.append

    def pin_meanwhile(entry: ledger.Entry) -> ledger.Entry:
        written = append(entry)
        if entry.by_gate:
            append(champions.by_hand("plants", "2", "pin", "audit", "elsewhere"))
        return written

    monkeypatch.setattr(ledger, "append", pin_meanwhile)
    found = register("d", model_folder, better)
    assert (found["outcome"], found["state"]) == ("hold", "superseded")
    assert versions.champion("plants") == "2"


@contextmanager
def locked_database(home: Path) -> Iterator[None]:
    connection = sqlite3.connect(home / "mlflow.db", isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")
        connection.close()


def test_a_locked_database_is_one_message_and_the_command_works_later(
    three: None, registry: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with locked_database(registry), pytest.raises(UserError, match="locked") as caught:
        champions.rollback("plants")  # MLflow waits 20 s
    assert "run the same command again" in str(caught.value)
    assert "Traceback" not in "".join(capfd.readouterr())
    assert champions.rollback("plants").candidate_version == "1"
    assert versions.champion("plants") == "1"


@pytest.mark.parametrize("place", ["create_run", "set_registered_model_alias", "set_tag"])
def test_a_database_that_locks_half_way(
    three: None, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each write of a rollback may be the one that the lock refuses."""
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import TEMPORARILY_UNAVAILABLE

    def refuse(*_: Any, **__: Any) -> None:
        raise MlflowException("database is locked", error_code=TEMPORARILY_UNAVAILABLE)

    with monkeypatch.context() as patch, pytest.raises(UserError, match="locked"):
        patch.setattr(MlflowClient, place, refuse)
        champions.rollback("plants")
    assert champions.rollback("plants").candidate_version == "1"
    assert versions.champion("plants") == "1"
    assert [entry.outcome for entry in ledger.entries("plants")[3:]] == ["rollback"]


def test_a_database_that_is_gone_is_not_replaced_by_an_empty_one(
    three: None, registry: Path, tmp_path: Path, model_folder: Path
) -> None:
    shutil.move(registry / "mlflow.db", tmp_path / "away.db")
    store._client.cache_clear()  # as a new process would begin
    for command in (
        lambda: champions.rollback("plants"),
        lambda: register("d", model_folder, better),
    ):
        with pytest.raises(UserError, match="database of the registry is gone"):
            command()
    shutil.move(tmp_path / "away.db", registry / "mlflow.db")
    assert champions.rollback("plants").candidate_version == "1"
