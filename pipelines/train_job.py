"""Fine-tuning on several nodes: a Kubeflow Trainer `TrainJob` in the place of torchrun.

The profile's `trainer` section becomes the template of a TrainJob when the pipeline is compiled;
the fine-tuning step, in its pod, runs `python -m pipelines.train_job FILE` (the launcher of
`regraft.steps.launching`), which fills in the file, submits it, and waits. All pods mount the same
claims, so they read what the step has put into its home, and leave the model there.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from pipelines.profile import ClusterProfile, Resources, Step, Trainer
from regraft.errors import UserError
from regraft.progress import note
from regraft.steps.hardware import PROCESS_ENVIRONMENT
from regraft.steps.launching import LAUNCHER, failures_beside

TEMPLATE = "REGRAFT_TRAIN_JOB"
STEP = "progressive_finetune"
COMMAND = "python -m pipelines.train_job"
LABEL = "regraft.dev/trains-together"
_GROUP, _VERSION, _PLURAL = "trainer.kubeflow.org", "v1alpha1", "trainjobs"
_NODE = "node"  # the name of the container and of the job in Trainer's runtimes for torch
_SECONDS_BETWEEN_LOOKS = 5.0


def template(profile: ClusterProfile) -> dict[str, Any]:
    """The TrainJob of a profile with a `trainer`, without name and arguments."""
    step, trainer = profile.step(STEP), profile.trainer
    assert trainer is not None
    spec: dict[str, Any] = {
        "runtimeRef": {
            "apiGroup": _GROUP, "kind": trainer.runtime_kind, "name": trainer.runtime,
        },
        "trainer": {
            "image": (trainer.image or step.image or profile.image).reference(),
            "numNodes": trainer.nodes,
            "numProcPerNode": trainer.processes_per_node,
            "env": [
                {"name": name, "value": value}
                for name, value in {**PROCESS_ENVIRONMENT, **profile.environment}.items()
            ],
            "resourcesPerNode": _resources(step),
        },
        "runtimePatches": [_patch(_pod(profile, trainer, step))],
    }  # fmt: skip
    if step.timeout_seconds:
        spec["activeDeadlineSeconds"] = step.timeout_seconds
    return {
        "apiVersion": f"{_GROUP}/{_VERSION}",
        "kind": "TrainJob",
        "metadata": {
            "namespace": profile.namespace,
            "labels": {"app.kubernetes.io/part-of": "regraft"},
        },
        "spec": spec,
    }


def launcher(profile: ClusterProfile) -> dict[str, str]:
    """What the step's environment says, so that it submits instead of training."""
    return {LAUNCHER: COMMAND, TEMPLATE: json.dumps(template(profile))}


def waiting(step: Step) -> Step:
    """The settings of the pod that only submits and waits: one core, no GPU, any node."""
    timeout = 2 * step.timeout_seconds  # the nodes may have to be waited for
    small = Resources(cpu_request="1", memory_request="2Gi", memory_limit="4Gi")
    return Step(image=step.image, resources=small, timeout_seconds=timeout, retries=step.retries)


def _patch(pod: dict[str, Any]) -> dict[str, Any]:
    """What is changed in the runtime's pods, in the places where Trainer lets one change it."""
    of_pod = {"metadata": {"labels": {LABEL: "true"}}, "spec": pod}
    job = {"name": _NODE, "template": {"spec": {"template": of_pod}}}
    runtime = {"template": {"spec": {"replicatedJobs": [job]}}}
    return {"manager": "regraft.dev/pipelines", "trainingRuntimeSpec": runtime}


def _pod(profile: ClusterProfile, trainer: Trainer, step: Step) -> dict[str, Any]:
    """The pods of the nodes: restricted, with the volumes of every step."""
    context = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    user, group = profile.run_as_user, profile.run_as_group
    volumes, mounts = _volumes(profile, step)
    taints = [taint.model_dump(exclude_defaults=True) for taint in step.tolerations]
    found = {
        "serviceAccountName": trainer.service_account,
        "imagePullSecrets": [{"name": name} for name in profile.image_pull_secrets],
        "nodeSelector": step.node_selector,
        "tolerations": taints,
        "securityContext": {
            **context, "runAsUser": user, "runAsGroup": group, "fsGroup": group,
        },
        "volumes": volumes,
        "containers": [
            {
                "name": _NODE,
                "volumeMounts": mounts,
                "securityContext": {
                    **context,
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                },
            }
        ],
    }  # fmt: skip
    return {name: value for name, value in found.items() if value}


def _volumes(profile: ClusterProfile, step: Step) -> tuple[list[Any], list[Any]]:
    """The profile's claims, /tmp and /dev/shm: volumes and mounts."""
    volumes: list[Any] = [
        {"name": claim, "persistentVolumeClaim": {"claimName": claim}}
        for claim in dict.fromkeys(volume.claim for volume in profile.volumes)
    ]
    mounts: list[Any] = [
        {"name": volume.claim, "mountPath": volume.mount_path}
        | ({"subPath": volume.sub_path} if volume.sub_path else {})
        for volume in profile.volumes
    ]
    folders: dict[str, dict[str, str]] = {"/tmp": {"sizeLimit": profile.scratch or "1Gi"}}
    if step.shared_memory:
        folders["/dev/shm"] = {"medium": "Memory", "sizeLimit": step.shared_memory}
    for path, how in folders.items():
        name = path[1:].replace("/", "-")
        volumes.append({"name": name, "emptyDir": how})
        mounts.append({"name": name, "mountPath": path})
    return volumes, mounts


def _resources(step: Step) -> dict[str, Any]:
    own = step.resources
    requests = {"cpu": own.cpu_request, "memory": own.memory_request}
    limits = {"cpu": own.cpu_limit, "memory": own.memory_limit}
    if step.gpu.count:
        limits[step.gpu.type] = str(step.gpu.count)
    kinds = {"requests": requests, "limits": limits}
    return {
        kind: {name: size for name, size in sizes.items() if size}
        for kind, sizes in kinds.items()
        if any(sizes.values())
    }


def filled(job: dict[str, Any], file: Path) -> dict[str, Any]:
    """The TrainJob that trains with the arguments in `file`. Its name depends on them alone, so
    that a step that was started again finds the job it had submitted."""
    name = f"regraft-{hashlib.sha256(file.read_bytes()).hexdigest()[:16]}"
    spec = job["spec"]
    command = ["torchrun", "-m", "regraft.steps.launching", str(file)]
    trainer = {**spec["trainer"], "command": command}
    return {
        **job,
        "metadata": {**job["metadata"], "name": name},
        "spec": {**spec, "trainer": trainer},
    }


def check(job: dict[str, Any]) -> None:
    """Refuse what Kubeflow's own models of a TrainJob do not know or would not take.

    Raises
    ------
    ValueError
        A field is unknown or ill-typed.
    """
    from kubeflow_trainer_api.models import TrainerV1alpha1TrainJob

    read = TrainerV1alpha1TrainJob.from_dict(job)
    if read is None or (kept := read.to_dict()) != job:
        raise ValueError(f"Kubeflow would read this TrainJob as {kept}")


def run(file: Path) -> None:
    """Submit the TrainJob of the environment for the arguments in `file`, and wait for its end.

    Raises
    ------
    UserError
        Kubernetes refuses or is out of reach, or the job failed.
    """
    job = filled(json.loads(os.environ[TEMPLATE]), file)
    check(job)
    jobs = _Jobs(job["metadata"]["namespace"])
    name = job["metadata"]["name"]
    state = jobs.state(name)
    if state == "Failed":
        note(f"TrainJob {name} had failed; it starts again and continues from its checkpoint")
        jobs.delete(name)
        state = None
    if state is None:
        jobs.create(job)
        note(f"TrainJob {name} was submitted: {job['spec']['trainer']['numNodes']} nodes")
    else:
        note(f"TrainJob {name} is there already; waiting for it")
    while (state := jobs.state(name)) not in {"Complete", "Failed"}:
        if state is None:
            raise _ended(name, jobs.namespace, "it was deleted")
        time.sleep(_SECONDS_BETWEEN_LOOKS)
    if state == "Failed":
        raise _ended(name, jobs.namespace, jobs.message(name))
    jobs.delete(name)


def _ended(name: str, namespace: str, why: str) -> UserError:
    return UserError(
        "the TrainJob did not end well",
        where=f"TrainJob {name}, namespace {namespace}",
        got=why,
        fix=f"kubectl -n {namespace} describe trainjob {name}; kubectl -n {namespace} logs "
        f"-l {LABEL}=true --tail=100; the step's next try continues from the checkpoint",
    )


class _Jobs:
    """The TrainJobs of a namespace, as the service account of this pod (or kubectl) sees them."""

    def __init__(self, namespace: str) -> None:
        from kubernetes import client, config

        try:
            config.load_incluster_config()
        except config.ConfigException:
            config.load_kube_config()
        self.namespace = namespace
        self._api = client.CustomObjectsApi()
        self._where = (_GROUP, _VERSION, namespace, _PLURAL)

    def create(self, job: dict[str, Any]) -> None:
        self._ask(self._api.create_namespaced_custom_object, job)

    def delete(self, name: str) -> None:
        """Delete the job and wait until it is gone, so that its name is free."""
        self._ask(self._api.delete_namespaced_custom_object, name)
        while self.state(name) is not None:
            time.sleep(_SECONDS_BETWEEN_LOOKS)

    def state(self, name: str) -> str | None:
        """Complete, Failed, or Running; None where there is no such job."""
        from kubernetes.client import ApiException

        try:
            found = self._ask(self._api.get_namespaced_custom_object, name)
        except ApiException:
            return None
        holding = [one["type"] for one in _conditions(found) if one["status"] == "True"]
        return next((kind for kind in holding if kind in {"Complete", "Failed"}), "Running")

    def message(self, name: str) -> str:
        found = self._ask(self._api.get_namespaced_custom_object, name)
        return next(
            (one.get("message", "") for one in _conditions(found) if one["type"] == "Failed"), ""
        )

    def _ask(self, method: Any, *arguments: Any) -> Any:
        """An answer of the API; only "there is none" is left to the caller."""
        from kubernetes.client import ApiException
        from urllib3.exceptions import HTTPError

        try:
            return method(*self._where, *arguments, _request_timeout=30)
        except ApiException as error:
            if error.status == 404 and "trainjobs" in str(error.body):
                raise
            raise self._refused(error.status, str(error.body)) from error
        except HTTPError as error:
            raise UserError(
                "the API of Kubernetes does not answer",
                got=type(error).__name__,
                fix="the network policy `pipeline-runs` must let the pod reach it",
            ) from error

    def _refused(self, status: int, body: str) -> UserError:
        said = body.strip().splitlines()[0][:300] if body.strip() else ""
        fixes = {
            403: "let the step's service account create, get and delete trainjobs: the Role "
            "regraft-pipelines of infra/base/accounts.yaml",
            404: "install Kubeflow Trainer 2.3 or newer (docs/cluster.md), or leave `trainer` out "
            "of the profile",
        }
        return UserError(
            "Kubernetes refuses the TrainJob",
            where=f"namespace {self.namespace}",
            got=f"{status} {said}",
            fix=fixes.get(status, "see docs/cluster.md, section Several nodes"),
        )


def _conditions(job: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = job.get("status", {}).get("conditions", [])
    return found


if __name__ == "__main__":
    with failures_beside(Path(sys.argv[1])):
        run(Path(sys.argv[1]))
