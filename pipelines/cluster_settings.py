"""From a cluster profile to the settings of Kubernetes on every step of a pipeline."""

from __future__ import annotations

from typing import Any

from kfp import dsl, kubernetes
from kfp.dsl.pipeline_context import Pipeline

from pipelines import train_job
from pipelines.profile import ClusterProfile, Gpu, Resources, Retries, Step
from regraft.steps.hardware import PROCESS_ENVIRONMENT


def run_config(profile: ClusterProfile | None) -> dsl.PipelineConfig | None:
    """What holds for a whole run, for `dsl.pipeline(pipeline_config=...)`."""
    if profile is None:
        return None
    return dsl.PipelineConfig(
        ttl_seconds_after_finished=profile.ttl_seconds_after_finished,
        active_deadline_seconds=profile.run_timeout_seconds,
    )


def place_on_cluster(profile: ClusterProfile | None) -> None:
    """Give every step of the pipeline that is being defined its settings.

    The last call in the body of a pipeline function. Nested pipelines place their own steps;
    importers and pipelines have no pod. Without a profile nothing happens, and the local runner
    ignores what happens here except the image and the environment.
    """
    if profile is None:
        return
    for task in Pipeline.get_default_pipeline().tasks.values():
        if task.container_spec is not None:
            _place(task, profile)


def _place(task: dsl.PipelineTask, profile: ClusterProfile) -> None:
    name = task.component_spec.name.replace("-", "_")
    step, environment = profile.step(name), {**PROCESS_ENVIRONMENT, **profile.environment}
    if profile.trainer and name == train_job.STEP:
        step, environment = train_job.waiting(step), environment | train_job.launcher(profile)
    task.set_container_image((step.image or profile.image).reference())
    for variable, value in environment.items():
        task.set_env_variable(variable, value)
    kubernetes.set_image_pull_policy(task, profile.image_pull_policy)
    if profile.image_pull_secrets:
        kubernetes.set_image_pull_secrets(task, list(profile.image_pull_secrets))
    for group in profile.secrets:
        kubernetes.use_secret_as_env(task, group.secret, dict(group.keys))
    kubernetes.set_security_context(
        task,
        run_as_user=profile.run_as_user,
        run_as_group=profile.run_as_group,
        run_as_non_root=True,
    )
    _mount(task, profile, step)
    _reserve(task, step.resources, step.gpu)
    _schedule(task, step)


def _mount(task: dsl.PipelineTask, profile: ClusterProfile, step: Step) -> None:
    for volume in profile.volumes:
        kubernetes.mount_pvc(
            task, pvc_name=volume.claim, mount_path=volume.mount_path, sub_path=volume.sub_path
        )
    if profile.scratch:
        kubernetes.empty_dir_mount(
            task, volume_name="scratch", mount_path="/tmp", size_limit=profile.scratch
        )
    if step.shared_memory:
        kubernetes.empty_dir_mount(
            task,
            volume_name="shared-memory",
            mount_path="/dev/shm",
            medium="Memory",
            size_limit=step.shared_memory,
        )


def _reserve(task: dsl.PipelineTask, resources: Resources, gpu: Gpu) -> None:
    setters: dict[str, Any] = {
        "cpu_request": task.set_cpu_request,
        "cpu_limit": task.set_cpu_limit,
        "memory_request": task.set_memory_request,
        "memory_limit": task.set_memory_limit,
    }
    for name, setter in setters.items():
        if value := getattr(resources, name):
            setter(value)
    if gpu.count:
        task.set_accelerator_type(gpu.type)
        task.set_accelerator_limit(gpu.count)


def _schedule(task: dsl.PipelineTask, step: Step) -> None:
    for key, value in step.node_selector.items():
        kubernetes.add_node_selector(task, key, value)
    for taint in step.tolerations:
        kubernetes.add_toleration(
            task,
            key=taint.key or None,
            operator=taint.operator,
            value=taint.value or None,
            effect=taint.effect or None,
        )
    if step.timeout_seconds:
        kubernetes.set_timeout(task, step.timeout_seconds)
    _retry(task, step.retries)


def _retry(task: dsl.PipelineTask, retries: Retries) -> None:
    if retries.count:
        task.set_retry(
            num_retries=retries.count,
            backoff_duration=f"{retries.backoff_seconds}s",
            backoff_factor=retries.backoff_factor,
            backoff_max_duration=f"{retries.max_backoff_seconds}s",
        )
