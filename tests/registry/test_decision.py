from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from regraft.errors import UserError
from regraft.registry import champions, decision, ledger, packaging, store, versions
from regraft.registry.versions import Reference

from .support import COUNTS, Killed, better, die_after, equal, never, register, scores, write_model


def assert_consistent(*, versions_expected: int) -> None:
    """What must hold whenever no registration is under way."""
    client = store.connect()
    found = client.search_model_versions("name = 'plants'")
    assert [version.tags["regraft.status"] for version in found] == ["registered"] * len(found)
    assert len({version.tags["regraft.run_key"] for version in found}) == len(found)
    assert len(found) == versions_expected
    entries = ledger.entries("plants")
    assert [entry.sequence for entry in entries] == list(range(1, len(entries) + 1))
    assert {entry.state for entry in entries} == {ledger.DONE}
    assert sorted(entry.candidate_version for entry in entries) == sorted(
        str(version.version) for version in found
    )
    moves = [entry.candidate_version for entry in entries if entry.moves]
    assert versions.champion("plants") == (moves[-1] if moves else None)


def test_first_then_better_then_equal(registry: Path, model_folder: Path) -> None:
    first = register("a", model_folder, never)
    second = register("b", model_folder, better)
    third = register("c", model_folder, equal)

    assert [first["outcome"], second["outcome"], third["outcome"]] == ["first", "promote", "hold"]
    assert first["champion_version"] is None
    assert second["champion_version"] == first["candidate_version"]
    assert second["interval"] == [0.02, 0.08]
    assert third["champion_version"] == second["candidate_version"]
    assert third["champion_after"] == second["candidate_version"]
    assert_consistent(versions_expected=3)


def test_below_the_floor_there_is_no_first_champion(registry: Path, model_folder: Path) -> None:
    found = register("a", model_folder, never, candidate=scores(0.4))

    assert found["outcome"] == "hold"
    assert versions.champion("plants") is None
    assert_consistent(versions_expected=1)


def test_comparison_without_evidence_decides_nothing(registry: Path, model_folder: Path) -> None:
    register("a", model_folder, never)

    with pytest.raises(UserError, match="not finite"):
        register("b", model_folder, lambda *_: {**COUNTS, "low": float("nan"), "high": 0.1})

    assert versions.champion("plants") == "1"
    with pytest.raises(UserError, match="no registered version"):
        versions.resolve("plants/2")
    register("b", model_folder, better)
    assert_consistent(versions_expected=2)


def test_champion_is_compared_with_its_own_files(registry: Path, tmp_path: Path) -> None:
    register("a", write_model(tmp_path / "old", "old"), never)
    seen: list[str] = []

    def look(folder: Path, reference: Reference) -> dict[str, Any]:
        seen.append((folder / "model.json").read_text())
        return equal(folder, reference)

    register("b", write_model(tmp_path / "new", "new"), look)

    assert len(seen) == 1 and "old" in seen[0]


def test_same_key_gives_the_same_decision(registry: Path, model_folder: Path) -> None:
    register("a", model_folder, never)
    once = register("b", model_folder, better)
    again = register("b", model_folder, never)

    assert once == again
    assert_consistent(versions_expected=2)


def test_champion_that_changes_meanwhile_is_met_too(registry: Path, model_folder: Path) -> None:
    register("a", model_folder, never)
    register("b", model_folder, equal)
    client = store.connect()
    seen: list[Path] = []

    def another_machine_promotes(folder: Path, reference: Reference) -> dict[str, Any]:
        seen.append(folder)
        client.set_registered_model_alias("plants", "champion", "2")
        return better(folder, reference)

    found = register("c", model_folder, another_machine_promotes)

    assert len(seen) == 2
    assert found["champion_version"] == "2"
    assert found["champion_after"] == "3"


def test_champion_that_changes_at_the_last_moment_stands(
    registry: Path, model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    register("a", model_folder, never)
    register("b", model_folder, equal)
    append = ledger.append

    def slow_append(entry: ledger.Entry) -> ledger.Entry:
        written = append(entry)
        store.connect().set_registered_model_alias("plants", "champion", "2")
        return written

    monkeypatch.setattr(ledger, "append", slow_append)
    found = register("c", model_folder, better)

    assert found["outcome"] == "hold"
    assert found["state"] == "superseded"
    assert versions.champion("plants") == "2"


def test_of_two_first_champions_at_one_moment_the_second_is_superseded(
    registry: Path, model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two machines on an empty registry: the database refuses the second alias of a name."""
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    register("a", model_folder, never)
    store.connect().delete_registered_model_alias("plants", versions.CHAMPION)
    set_alias, others = MlflowClient.set_registered_model_alias, ["1"]

    def refused(client: MlflowClient, name: str, alias: str, version: str) -> None:
        for other in others:
            set_alias(client, name, alias, other)
        raise MlflowException("duplicate key value violates registered_model_alias_pk")

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "set_registered_model_alias", refused)
        found = register("b", model_folder, never)
        assert (found["outcome"], found["state"]) == ("hold", "superseded")
        assert versions.champion("plants") == "1"
        others.clear()
        with pytest.raises(MlflowException, match="duplicate"):
            register("c", model_folder, better)
    assert register("c", model_folder, better)["outcome"] == "promote"


STAGES: list[tuple[Any, str]] = [
    (versions, "_logged_model"),
    (versions, "_upload"),
    (versions, "_ensure_model"),
    (versions, "register_candidate"),
    (decision, "_meet_champion"),
    (ledger, "append"),
    (champions, "_set_alias"),
    (versions, "mark_registered"),
    (ledger, "mark"),
    (decision, "_finish"),
]


@pytest.mark.parametrize("place", STAGES, ids=[name for _, name in STAGES])
def test_kill_after_every_stage(
    registry: Path, model_folder: Path, monkeypatch: pytest.MonkeyPatch, place: tuple[Any, str]
) -> None:
    register("a", model_folder, never)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        die_after(*place, patch)
        register("b", model_folder, better)
    assert versions.champion("plants") in {"1", "2"}

    assert register("b", model_folder, better)["outcome"] == "promote"

    assert versions.champion("plants") == "2"
    assert_consistent(versions_expected=2)


def test_kill_in_the_middle_of_the_upload(
    registry: Path, model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half(path: Path, folder: Path, **named: Any) -> None:
        path.mkdir()
        (path / "MLmodel").write_text("half")

    from mlflow import MlflowClient

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(packaging, "save_pyfunc", half)
        die_after(MlflowClient, "log_model_artifacts", patch)
        register("a", model_folder, never)
    assert versions.champion("plants") is None

    register("a", model_folder, never)
    with versions.model_folder("plants", "1") as folder:
        assert (folder / "model.safetensors").is_file()
    assert_consistent(versions_expected=1)


@pytest.mark.parametrize("place", STAGES[3:8], ids=[name for _, name in STAGES[3:8]])
def test_another_run_cleans_up_after_a_kill(
    registry: Path, model_folder: Path, monkeypatch: pytest.MonkeyPatch, place: tuple[Any, str]
) -> None:
    register("a", model_folder, never)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        die_after(*place, patch)
        register("b", model_folder, better)

    found = register("c", model_folder, equal)

    decided = ledger.find("plants", "b") is not None
    assert found["champion_version"] == ("2" if decided else "1")
    assert_consistent(versions_expected=3 if decided else 2)


PROGRAM = """
import sys, time
from pathlib import Path
from tests.registry.support import better, register

def compare(folder, reference):
    print("comparing", flush=True)
    time.sleep(float(sys.argv[3]))
    return better(folder, reference)

print(register(sys.argv[1], Path(sys.argv[2]), compare)["outcome"], flush=True)
"""


def start(run_key: str, folder: Path, *, compare_seconds: float) -> subprocess.Popen[str]:
    root = Path(__file__).parents[2]
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(PROGRAM), run_key, folder, str(compare_seconds)],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        stdout=subprocess.PIPE,
        text=True,
    )


def test_two_runs_at_once_on_a_new_registry(fresh_home: Path, model_folder: Path) -> None:
    both = [start(key, model_folder, compare_seconds=0.3) for key in ("a", "b")]
    said = sorted(process.communicate(timeout=120)[0].split()[-1] for process in both)

    assert [process.returncode for process in both] == [0, 0]
    assert said == ["first", "promote"]
    first, second = ledger.entries("plants")
    assert second.champion_version == first.candidate_version
    assert_consistent(versions_expected=2)


def test_kill_9_while_comparing(registry: Path, model_folder: Path) -> None:
    register("a", model_folder, never)
    process = start("b", model_folder, compare_seconds=60)
    assert process.stdout is not None
    assert process.stdout.readline().strip() == "comparing"
    process.send_signal(signal.SIGKILL)
    process.wait()

    assert versions.champion("plants") == "1"
    assert register("b", model_folder, better)["outcome"] == "promote"  # nobody holds the lock
    assert_consistent(versions_expected=2)
