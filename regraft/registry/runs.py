"""A finished pipeline run in MLflow: one parent run, one nested run per step.

The run is logged in one go at the end. Until everything is in, the parent carries the tag
`regraft.status=incomplete`; logging again with the same `run_key` replaces what a killed attempt
left, and changes nothing once the run is complete.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regraft.errors import UserError
from regraft.registry import flatten, store
from regraft.registry.lock import locked

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Run

STATUS = "regraft.status"
RUN_KEY = "regraft.run_key"
_DIGEST_LENGTH = 36  # MLflow's limit for a data set's digest
_METRICS_PER_BATCH = 900  # the server takes 1,000 items in one request
_PARAMETERS_PER_BATCH = 100


@store.available()
def log_pipeline_run(
    *,
    experiment: str,
    run_name: str,
    run_key: str,
    parameters: Mapping[str, Any],
    tags: Mapping[str, str],
    dataset: Mapping[str, str],
    steps: Sequence[Mapping[str, Any]],
    metrics: Mapping[str, Any],
    artifacts: Sequence[tuple[Path | str, str]],
) -> str:
    """Log one pipeline run and return its MLflow run id.

    `run_key` identifies the attempt: the same key never yields two complete runs. `tags` hold
    `code_version`, `data_version`, `recipe`; `dataset` has `name` and `digest` (and optionally
    `source`). A step is a mapping with `name`, `seconds`, `cpu_seconds`, `status`, `cached` and
    optionally `parameters`, `metrics` and `history` (the content of history.json, which becomes
    learning curves). `artifacts` are pairs of a local file or folder and its folder in the run.

    When the environment names a run (`MLFLOW_RUN_ID`, as Kubeflow does) that run is the parent.
    Raises `UserError` when it does not exist or the store is out of reach.
    """
    client = store.connect()
    with locked(f"run {run_key}"), store.quiet():
        experiment_id = store.experiment_id(client, experiment)
        parent, complete = _parent(client, experiment_id, run_name, run_key)
        run_id = str(parent.info.run_id)
        if complete:
            return run_id
        _log_values(client, parent, parameters, flatten.metrics(metrics))
        _log_dataset(client, run_id, dataset)
        for step in steps:
            _log_step(client, parent, step)
        for local, folder in artifacts:
            _log_artifact(client, run_id, Path(local), folder)
        _complete(client, run_id, {**tags, "dataset_digest": dataset["digest"]})
    return run_id


def _parent(
    client: MlflowClient, experiment_id: str, run_name: str, run_key: str
) -> tuple[Run, bool]:
    """The run to log into and whether it is complete already."""
    injected = os.environ.get("MLFLOW_RUN_ID")
    runs = [_injected_run(client, injected)] if injected else []
    runs += _runs_with(client, experiment_id, RUN_KEY, run_key)
    for run in runs:
        if run.data.tags.get(STATUS) == "complete" and run.data.tags.get(RUN_KEY) == run_key:
            return run, True
    for run in runs:
        _remove(client, run, keep_parent=run.info.run_id == injected)
    tags = {STATUS: "incomplete", RUN_KEY: run_key}
    if injected:
        for key, value in tags.items():
            client.set_tag(injected, key, value)
        return client.get_run(injected), False
    run = client.create_run(experiment_id, run_name=run_name, tags=tags)
    return run, False


def _injected_run(client: MlflowClient, run_id: str) -> Run:
    from mlflow.exceptions import MlflowException

    try:
        return client.get_run(run_id)
    except MlflowException as error:
        raise UserError(
            "the run to join does not exist",
            where="MLFLOW_RUN_ID",
            got=run_id,
            expected=f"a run in {store.tracking_uri()}",
            fix="unset MLFLOW_RUN_ID to start a new run",
        ) from error


def _runs_with(client: MlflowClient, experiment_id: str, tag: str, value: str) -> list[Run]:
    filter_string = f"tags.`{tag}` = {store.quoted(value)}"
    return store.all_pages(
        client.search_runs, experiment_ids=[experiment_id], filter_string=filter_string
    )


def _remove(client: MlflowClient, run: Run, *, keep_parent: bool) -> None:
    """Delete what a killed attempt left, so that steps and curves do not appear twice."""
    children = _runs_with(
        client, run.info.experiment_id, "mlflow.parentRunId", str(run.info.run_id)
    )
    for child in children:
        if STATUS in child.data.tags:  # ours; a joined parent may have children of others
            client.delete_run(child.info.run_id)
    if not keep_parent:
        client.delete_run(run.info.run_id)


def _log_step(client: MlflowClient, parent: Run, step: Mapping[str, Any]) -> None:
    name = str(step["name"])
    tags = {
        "mlflow.parentRunId": str(parent.info.run_id),
        STATUS: str(step.get("status", "")),
        "regraft.step": name,
        "regraft.cached": str(bool(step.get("cached", False))).lower(),
    }
    run = client.create_run(parent.info.experiment_id, run_name=name, tags=tags)
    cost = {key: float(step[key]) for key in ("seconds", "cpu_seconds") if key in step}
    values = cost | flatten.metrics(step.get("metrics") or {})
    curves = _learning_curves(step.get("history") or {})
    _log_values(client, run, step.get("parameters") or {}, values, curves)
    failed = str(step.get("status", "")).lower() in {"failed", "error"}
    client.set_terminated(run.info.run_id, status="FAILED" if failed else "FINISHED")


def _learning_curves(history: Mapping[str, Any]) -> list[Metric]:
    """Every number of every epoch; epochs count on through the stages."""
    from mlflow.entities import Metric

    now = _milliseconds()
    curves: list[Metric] = []
    epochs = [
        (number, epoch)
        for number, stage in enumerate(history.get("stages", []), start=1)
        for epoch in stage.get("epochs", [])
    ]
    for count, (stage_number, epoch) in enumerate(epochs, start=1):
        values = flatten.metrics({**epoch, "stage": stage_number})
        values.pop("epoch", None)
        curves += [Metric(f"curve/{key}", value, now, count) for key, value in values.items()]
    return curves


def _log_values(
    client: MlflowClient,
    run: Run,
    parameters: Mapping[str, Any],
    metrics: Mapping[str, float],
    curves: Sequence[Metric] = (),
) -> None:
    from mlflow.entities import Metric, Param

    now = _milliseconds()
    points = [Metric(key, value, now, 0) for key, value in metrics.items()] + list(curves)
    known = run.data.params  # of a joined run: MLflow refuses to write a parameter twice
    params = [
        Param(key, value)
        for key, value in flatten.parameters(parameters).items()
        if known.get(key) is None
    ]
    parts = zip_longest(
        _batches(points, _METRICS_PER_BATCH), _batches(params, _PARAMETERS_PER_BATCH), fillvalue=()
    )
    for points_part, params_part in parts:
        client.log_batch(run.info.run_id, metrics=points_part, params=params_part)


def _batches(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _log_dataset(client: MlflowClient, run_id: str, dataset: Mapping[str, str]) -> None:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    digest = dataset["digest"]
    entity = Dataset(
        name=dataset["name"],
        digest=digest[:_DIGEST_LENGTH],
        source_type="local",
        source=dataset.get("source", dataset["name"]),
    )
    context = InputTag("mlflow.data.context", "training")
    client.log_inputs(run_id, [DatasetInput(entity, [context])])


def _log_artifact(client: MlflowClient, run_id: str, local: Path, folder: str) -> None:
    if local.is_dir():
        client.log_artifacts(run_id, str(local), folder)
    else:
        client.log_artifact(run_id, str(local), folder)


def _complete(client: MlflowClient, run_id: str, tags: Mapping[str, str]) -> None:
    """The last write is the one that makes the run count."""
    from mlflow.entities import RunTag

    client.log_batch(run_id, tags=[RunTag(f"regraft.{key}", text) for key, text in tags.items()])
    if os.environ.get("MLFLOW_RUN_ID") != run_id:  # whoever started a joined run ends it
        client.set_terminated(run_id)
    client.set_tag(run_id, STATUS, "complete")


def _milliseconds() -> int:
    return int(time.time() * 1000)
