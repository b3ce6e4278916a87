"""The recurring drift check of a recipe on a cluster: one, of the latest pipeline version."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from pipelines.cron import check_cron
from pipelines.kubeflow import Kubeflow
from pipelines.profile import ClusterProfile
from pipelines.submission import sendable
from regraft.recipe import Recipe

_PAGE = 100


def schedule_monitoring(
    recipe: Recipe, cron: str, profile: ClusterProfile, *, looked_up: bool = True
) -> dict[str, Any]:
    """Make the recurring run of this recipe's monitoring pipeline be what is asked for.

    The pipeline is uploaded where its newest version differs from what is compiled now. There is
    one recurring run per recipe, named NAME drift check: it runs the latest version, never two at
    once, and makes up for nothing that was missed. Returns recurring_run_id, name, cron,
    pipeline_version, outcome (created, updated or unchanged) and url.

    Raises `UserError` before anything is sent when cron, arguments, paths, secrets or volumes are
    wrong, and when Kubeflow cannot be reached or refuses.
    """
    from pipelines.arguments import monitoring_arguments

    cron = check_cron(cron)
    arguments = monitoring_arguments(recipe)
    with (
        sendable("monitoring", recipe, arguments, profile, looked_up=looked_up) as (
            kubeflow, package, spec,
        ),
        kubeflow.calls(),
    ):  # fmt: skip
        pipeline, version = _uploaded(kubeflow, package, spec["pipelineInfo"]["name"])
        wanted = _wanted(kubeflow, recipe.name, pipeline, cron, arguments, profile)
        found, outcome = _exactly_one(kubeflow, wanted)
    return {
        "recurring_run_id": found.recurring_run_id,
        "name": found.display_name,
        "cron": cron,
        "pipeline_version": version,
        "outcome": outcome,
        "url": f"{kubeflow.host}/#/recurringrun/details/{found.recurring_run_id}",
    }


def _uploaded(kubeflow: Kubeflow, package: Path, name: str) -> tuple[str, str]:
    """Id of the pipeline and name of its newest version, which is that of `package`."""
    from kfp_server_api import V2beta1Pipeline

    pipelines = kubeflow.client._pipelines_api
    known = _all(
        lambda token: pipelines.pipeline_service_list_pipelines(
            page_size=_PAGE, page_token=token, **_of(kubeflow)
        ),
        "pipelines",
    )
    own = next((one for one in known if one.display_name == name), None) or (
        pipelines.pipeline_service_create_pipeline(
            pipeline=V2beta1Pipeline(display_name=name, name=name, **_of(kubeflow))
        )
    )
    digest = hashlib.sha256(package.read_bytes()).hexdigest()[:16]
    versions = _all(
        lambda token: pipelines.pipeline_service_list_pipeline_versions(
            own.pipeline_id, page_size=_PAGE, page_token=token, sort_by="created_at desc"
        ),
        "pipeline_versions",
    )
    if versions and versions[0].display_name.startswith(digest):
        return own.pipeline_id, versions[0].display_name
    again = sum(one.display_name.startswith(digest) for one in versions)
    title = f"{digest}-{again + 1}" if again else digest
    kubeflow.client.upload_pipeline_version(
        str(package), pipeline_version_name=title, pipeline_id=own.pipeline_id
    )
    return own.pipeline_id, title


def _wanted(
    kubeflow: Kubeflow,
    name: str,
    pipeline: str,
    cron: str,
    arguments: dict[str, Any],
    profile: ClusterProfile,
) -> Any:
    """The recurring run as it should be."""
    import kfp_server_api as api

    experiment = kubeflow.client.create_experiment(name, namespace=kubeflow.namespace)
    return api.V2beta1RecurringRun(
        display_name=f"{name} drift check",
        description="regraft schedule",
        experiment_id=experiment.experiment_id,
        # Without a version the latest one runs; kfp's own method would refuse to leave it out.
        pipeline_version_reference=api.V2beta1PipelineVersionReference(pipeline_id=pipeline),
        runtime_config=api.V2beta1RuntimeConfig(parameters=arguments),
        trigger=api.V2beta1Trigger(cron_schedule=api.V2beta1CronSchedule(cron=cron)),
        mode=api.RecurringRunMode.ENABLE,
        max_concurrency="1",
        no_catchup=True,
        service_account=profile.service_account if kubeflow.namespace else None,
        namespace=kubeflow.namespace,
    )


def _exactly_one(kubeflow: Kubeflow, wanted: Any) -> tuple[Any, str]:
    """The recurring run that is left, and whether it was created, updated or there already.

    The API cannot change one. A new one is made before old ones go: what a crash leaves between
    the two is mended by the next call, and a check that runs twice is refused by its lock.
    """
    runs = kubeflow.client._recurring_run_api
    listed = _all(
        lambda token: runs.recurring_run_service_list_recurring_runs(
            page_size=_PAGE, page_token=token, experiment_id=wanted.experiment_id
        ),
        "recurring_runs",
    )
    own = [one for one in listed if one.display_name == wanted.display_name]
    kept = next((one for one in own if _same(one, wanted)), None)
    made = kept or runs.recurring_run_service_create_recurring_run(recurring_run=wanted)
    for one in own:
        if one.recurring_run_id != made.recurring_run_id:
            runs.recurring_run_service_delete_recurring_run(one.recurring_run_id)
    if kept and len(own) == 1:
        return kept, "unchanged"
    return made, "updated" if own else "created"


def _same(one: Any, other: Any) -> bool:
    """Do two recurring runs do the same at the same times?"""
    return _essence(one) == _essence(other)


def _essence(run: Any) -> tuple[Any, ...]:
    reference = run.pipeline_version_reference
    schedule = run.trigger.cron_schedule if run.trigger else None
    return (
        reference.pipeline_id if reference else "",
        (reference.pipeline_version_id if reference else "") or "",
        run.runtime_config.parameters if run.runtime_config else {},
        schedule.cron if schedule else "",
        str(run.mode),
        int(run.max_concurrency or 0),
        bool(run.no_catchup),
        run.service_account or "",
    )


def _of(kubeflow: Kubeflow) -> dict[str, str]:
    """The namespace where the installation has several."""
    return {"namespace": kubeflow.namespace} if kubeflow.namespace else {}


def _all(page: Any, field: str) -> list[Any]:
    """Every entry of a paged list."""
    found: list[Any] = []
    token = ""
    while True:
        answer = page(token)
        found += getattr(answer, field) or []
        token = answer.next_page_token or ""
        if not token:
            return found
