"""What a local run says about its steps, without running one."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
from kfp import dsl

from components.base import component
from pipelines import runner
from regraft.errors import UserError


@pytest.fixture
def records(tmp_path: Path) -> Path:
    folder = tmp_path / "records"
    folder.mkdir()
    return folder


def record(folder: Path, name: str, **values: Any) -> None:
    content = {"name": name, "status": "done", "seconds": 2.0, "cpu_seconds": 1.5, **values}
    (folder / f"{name}.json").write_text(json.dumps(content))


def failed(error: str, kind: str) -> dict[str, Any]:
    return {"status": "failed", "error": error, "error_type": kind,
            "user_error": kind == "UserError"}  # fmt: skip


def test_the_user_s_mistake_is_told_in_the_step_s_words(records: Path) -> None:
    record(records, "data_validation", **failed("class rust has 1 image\n  got: 1", "UserError"))
    found = runner.own_error(records, Path("log.txt"))
    assert isinstance(found, UserError)
    assert str(found) == "class rust has 1 image\n  got: 1"


def test_a_defect_is_told_with_step_type_and_log(records: Path) -> None:
    record(records, "data_validation")
    record(records, "evaluation", **failed("shapes differ", "ValueError"))
    found = runner.own_error(records, Path("out/log.txt"))
    assert isinstance(found, runner.StepError)
    for part in ("evaluation", "ValueError", "shapes differ", "out/log.txt"):
        assert part in str(found)


def test_a_step_that_left_nothing_was_killed(records: Path, tmp_path: Path) -> None:
    record(records, "data_validation")
    log = tmp_path / "log.txt"
    names = ("data-validation", "feature-extraction")
    log.write_text("".join(f"INFO - Executing task \x1b[96m'{name}'\x1b[0m\n" for name in names))
    found = runner.own_error(records, log)
    assert isinstance(found, runner.StepError)
    for part in ("feature_extraction", "killed", str(log)):
        assert part in str(found)


def test_a_step_without_record_came_from_the_cache(records: Path) -> None:
    record(records, "registration")
    table = runner.step_table(records, ["data_validation", "registration"])
    assert [(row["name"], row["cached"]) for row in table] == [
        ("data_validation", True), ("registration", False),
    ]  # fmt: skip
    assert [row["seconds"] for row in table] == [0.0, 2.0]
    assert all(row["status"] == "done" for row in table)


def test_old_records_are_cleared_before_a_run(tmp_path: Path) -> None:
    (tmp_path / "run" / "records").mkdir(parents=True)
    record(tmp_path / "run" / "records", "evaluation")
    with runner.claimed(tmp_path / "run") as records:
        assert list(records.iterdir()) == []


def test_an_output_folder_that_cannot_be_written_is_the_user_s_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="--out"):
        runner.claimed(tmp_path / "file" / "run").__enter__()


def test_the_environment_is_as_before_after_a_run(
    records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import builtins
    import logging
    import os

    monkeypatch.setenv("REGRAFT_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    before = (dict(os.environ), builtins.print, logging.getLogger().level)
    with (
        pytest.raises(RuntimeError, match="inside"),
        runner.local_runner(tmp_path, records, tmp_path / "log.txt", 7, cached=True),
    ):
        assert os.environ["REGRAFT_STEP_RECORDS"] == str(records)
        raise RuntimeError("inside")
    assert (dict(os.environ), builtins.print, logging.getLogger().level) == before


def test_two_runs_do_not_share_an_output_folder(tmp_path: Path) -> None:
    with runner.claimed(tmp_path), pytest.raises(UserError, match="another run"):  # noqa: SIM117
        with runner.claimed(tmp_path):
            pass
    with runner.claimed(tmp_path):  # and the folder is free again
        pass


def test_results_of_an_earlier_run_cannot_be_taken_for_those_of_a_failed_one(
    tmp_path: Path,
) -> None:
    (tmp_path / "summary.json").write_text("{}")
    with runner.claimed(tmp_path):
        assert not (tmp_path / "summary.json").exists()


def test_a_local_run_warns_of_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kubeflow warns of each step whose image has no `python` in its name."""
    monkeypatch.setenv("REGRAFT_HOME", str(tmp_path / "home"))

    @component
    def tiny():  # type: ignore[no-untyped-def]
        import os
        from pathlib import Path

        Path(os.environ["REGRAFT_STEP_RECORDS"], "tiny.json").write_text('{"name": "tiny"}')

    @dsl.pipeline
    def one_step():  # type: ignore[no-untyped-def]
        tiny()

    with warnings.catch_warnings(record=True) as warned, runner.claimed(tmp_path / "run") as left:
        warnings.simplefilter("always")
        runner.run_pipeline(one_step, {}, tmp_path / "run", left, 1, cached=False)
        assert (left / "tiny.json").is_file(), "the step ran"
    assert [str(one.message) for one in warned] == []
