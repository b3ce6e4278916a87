from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from regraft.errors import UserError
from regraft.registry import runs, store

from .support import log_run

HISTORY = {
    "stages": [
        {"name": "probe", "epochs": [{"epoch": 1, "train_loss": 2.0}]},
        {
            "name": "unfreeze",
            "epochs": [
                {"epoch": 1, "train_loss": 1.0, "learning_rates": {"head": 0.1}},
                {"epoch": 2, "train_loss": 0.5, "learning_rates": {"head": 0.05}},
            ],
        },
    ]
}


def every_run() -> list[Any]:
    client = store.connect()
    experiment = store.experiment_id(client, "plants")
    return store.all_pages(client.search_runs, experiment_ids=[experiment])


def children(run_id: str) -> list[Any]:
    return [run for run in every_run() if run.data.tags.get("mlflow.parentRunId") == run_id]


def test_everything_is_found_again(registry: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.html"
    report.write_text("<p>")
    step = {
        "name": "progressive_finetune",
        "seconds": 3.0,
        "cpu_seconds": 5.0,
        "status": "done",
        "cached": True,
        "parameters": {"epochs": 3},
        "metrics": {"val": {"accuracy": 0.8}},
        "history": HISTORY,
    }

    run_id = log_run("key", steps=[step], artifacts=[(report, "reports")])

    client = store.connect()
    run = client.get_run(run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params == {"data.root": "photos"}
    assert run.data.metrics == {"test/accuracy": 0.9}
    assert run.data.tags["regraft.status"] == "complete"
    assert run.data.tags["regraft.code_version"] == "abc"
    assert run.inputs is not None
    assert run.inputs.dataset_inputs[0].dataset.digest == "0" * 36
    assert run.data.tags["regraft.dataset_digest"] == "0" * 64
    assert [file.path for file in client.list_artifacts(run_id, "reports")] == [
        "reports/report.html"
    ]
    (nested,) = children(run_id)
    assert nested.data.tags["regraft.cached"] == "true"
    assert nested.data.metrics["cpu_seconds"] == 5.0
    assert nested.data.metrics["val/accuracy"] == 0.8
    curve = client.get_metric_history(nested.info.run_id, "curve/train_loss")
    assert [(point.step, point.value) for point in curve] == [(1, 2.0), (2, 1.0), (3, 0.5)]


def test_failed_step_is_failed(registry: Path) -> None:
    run_id = log_run("key", steps=[{"name": "evaluation", "seconds": 1, "status": "failed"}])

    assert children(run_id)[0].info.status == "FAILED"


def test_more_values_than_one_request_takes(registry: Path) -> None:
    many = {f"m{number}": float(number) for number in range(2500)}
    parameters = {f"p{number}": number for number in range(250)}

    run = store.connect().get_run(log_run("key", metrics=many, parameters=parameters))

    assert len(run.data.metrics) == 2500
    assert len(run.data.params) == 250


def test_logging_twice_changes_nothing(registry: Path) -> None:
    assert log_run("key") == log_run("key")
    assert len(every_run()) == 2


@pytest.mark.parametrize("stage", ["_log_values", "_log_dataset", "_log_step", "_complete"])
def test_killed_attempt_is_replaced(
    registry: Path, stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def kill(*arguments: Any, **named: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(runs, stage, kill)
        log_run("key")

    run_id = log_run("key")

    found = every_run()
    assert len(found) == 2  # the parent and its one step
    assert [run.info.run_id for run in found if "regraft.run_key" in run.data.tags] == [run_id]


def test_joins_the_run_of_kubeflow(registry: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client = store.connect()
    given = client.create_run(store.experiment_id(client, "kubeflow")).info.run_id
    client.log_param(given, "data.root", "photos")
    monkeypatch.setenv("MLFLOW_RUN_ID", given)

    assert log_run("key") == given
    assert log_run("key") == given

    run = client.get_run(given)
    assert run.info.status == "RUNNING"  # Kubeflow ends it
    assert run.data.metrics == {"test/accuracy": 0.9}


def test_run_to_join_is_unknown(registry: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_RUN_ID", "0" * 32)

    with pytest.raises(UserError, match="MLFLOW_RUN_ID"):
        log_run("key")
