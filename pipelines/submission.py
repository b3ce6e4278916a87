"""Send a recipe to a cluster, and see what became of the runs there."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipelines.checked_arguments import check_arguments, check_reachable
from pipelines.kubeflow import Kubeflow
from pipelines.profile import ClusterProfile
from regraft.progress import note
from regraft.recipe import Recipe


def submit_training(
    recipe: Recipe, profile: ClusterProfile, *, data_version: str = "", looked_up: bool = True
) -> dict[str, Any]:
    """Compile the training pipeline for the cluster and start it; returns id, name and address.

    `data_version` says which data lie in the cluster's volume. Without it they are hashed where
    `data.root` exists on this machine too; where it does not, the version is the time, so that no
    step is taken from the cache of a run on other data. With `looked_up` false nothing is asked of
    Kubernetes beforehand.

    Raises `UserError` before anything is sent when arguments, paths, secrets or volumes are wrong,
    and when Kubeflow cannot be reached or refuses.
    """
    from pipelines.arguments import training_arguments

    root = Path(recipe.data.root).expanduser()
    if not data_version and not root.exists():
        data_version = f"submitted {datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
        note(f"{root} is not on this machine: without --data-version no step is taken from a cache")
    arguments = training_arguments(recipe, data_version=data_version)
    arguments["triggered_by"] = "regraft submit"
    with sendable("training", recipe, arguments, profile, looked_up=looked_up) as (
        kubeflow, package, _,
    ):  # fmt: skip
        return _start(kubeflow, package, arguments, recipe.name, profile)


@contextmanager
def sendable(
    kind: str,
    recipe: Recipe,
    arguments: dict[str, Any],
    profile: ClusterProfile,
    *,
    looked_up: bool,
) -> Iterator[tuple[Kubeflow, Path, dict[str, Any]]]:
    """Kubeflow and the `kind` (training, monitoring) of pipeline that fits the recipe, compiled for
    the profile to a file, and its content, when all that can be checked beforehand is in order. The
    file goes with the context.

    Raises `UserError` as `submit_training`.
    """
    import yaml

    from pipelines.compiled import compile_one
    from pipelines.preflight import check_namespace

    check_reachable(arguments, profile)
    name = kind if recipe.distillation.enabled else f"{kind}_without_student"
    with tempfile.TemporaryDirectory() as folder:
        package = compile_one(name, Path(folder), profile, shards=recipe.features.shards)
        spec = next(yaml.safe_load_all(package.read_text(encoding="utf-8")))
        check_arguments(spec, arguments)
        kubeflow = Kubeflow(profile)
        if looked_up:
            check_namespace(profile)
        yield kubeflow, package, spec


def _start(
    kubeflow: Kubeflow, package: Path, arguments: dict[str, Any], name: str, profile: ClusterProfile
) -> dict[str, Any]:
    run_name = f"{name} {datetime.now(UTC):%Y-%m-%d %H:%M:%S}"
    with kubeflow.calls():
        started = kubeflow.client.create_run_from_pipeline_package(
            str(package),
            arguments=arguments,
            run_name=run_name,
            experiment_name=name,
            namespace=kubeflow.namespace,
            service_account=profile.service_account if kubeflow.namespace else None,
        )
    return {
        "run_id": started.run_id,
        "name": run_name,
        "experiment": name,
        "url": f"{kubeflow.host}/#/runs/details/{started.run_id}",
    }


def recent_runs(profile: ClusterProfile, *, limit: int = 10) -> list[dict[str, Any]]:
    """The newest runs of the profile's namespace: id, name, state, times and the error if any.

    Raises `UserError` when Kubeflow cannot be reached or refuses.
    """
    kubeflow = Kubeflow(profile)
    with kubeflow.calls():
        found = kubeflow.client.list_runs(
            page_size=limit, sort_by="created_at desc", namespace=kubeflow.namespace
        )
    return [
        {
            "run_id": run.run_id,
            "name": run.display_name,
            "state": (run.state or "PENDING").lower(),
            "created": str(run.created_at or ""),
            "finished": str(run.finished_at or ""),
            "error": _first_line(run.error.message) if run.error else "",
        }
        for run in (found.runs or [])[:limit]
    ]


def _first_line(text: str | None) -> str:
    return (text or "").strip().partition("\n")[0]
