"""The cluster profile: one typed file with everything that a cluster knows and a recipe must not.

It lives here and not in the recipes, because the library knows nothing of Kubeflow. What becomes
of it is in `pipelines.cluster_settings`. Secrets are named, never written.
"""

from __future__ import annotations

import difflib
import pkgutil
import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from regraft.recipe.base import Options
from regraft.recipe.loading import load_options

Name = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$")]
"""A name of Kubernetes: lower-case letters, digits, - and ."""
Cpu = Annotated[str, Field(pattern=r"^(\d+(\.\d+)?|\d+m)?$")]
"""Cores, for example 2, 0.5 or 500m; empty for none."""
Size = Annotated[str, Field(pattern=r"^(\d+(\.\d+)?(Ki|Mi|Gi|Ti|K|M|G|T))?$")]
"""Bytes with a unit, for example 512Mi or 8Gi; empty for none."""
Folder = Annotated[str, Field(pattern=r"^/[^:]*$")]
"""An absolute path in the container."""
Variable = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
"""Name of an environment variable."""

_SECRET_NAME = re.compile(r"passw|secret|token|credential|private|api_?key|access_?key", re.I)
_SECRET_IN_ADDRESS = re.compile(r"://[^/@\s]*:[^/@\s]+@")


class Image(Options):
    """A container image, by name and an immutable tag or digest."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9./_:-]*[a-z0-9]$")
    """Registry and repository, for example registry.example.org/regraft/steps-cpu."""
    tag: str = Field(default="", pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$|^$")
    """A version; `latest` is refused, because a run could not be repeated."""
    digest: str = Field(default="", pattern=r"^(sha256:[0-9a-f]{64})?$")
    """sha256:...; goes before the tag. Pin it in production: a tag may be moved."""

    @model_validator(mode="after")
    def _immutable(self) -> Self:
        if ":" in self.name.rsplit("/", 1)[-1]:
            raise ValueError("the tag has a field of its own: write name and tag")
        if self.tag == "latest":
            raise ValueError("the tag latest names another image tomorrow: give a version")
        if not self.tag and not self.digest:
            raise ValueError("an image needs a tag or a digest")
        return self

    def reference(self) -> str:
        """What Kubernetes pulls: name@digest where there is one, else name:tag."""
        return f"{self.name}@{self.digest}" if self.digest else f"{self.name}:{self.tag}"


class Resources(Options):
    """What the scheduler reserves and the node enforces; empty leaves it to the namespace."""

    cpu_request: Cpu = ""
    """Cores reserved."""
    cpu_limit: Cpu = ""
    """Cores at most; leave it empty where idle cores may be used."""
    memory_request: Size = ""
    """Memory reserved."""
    memory_limit: Size = ""
    """Memory at most; the step is killed beyond it."""


class Gpu(Options):
    """Accelerators of one step."""

    type: str = Field(default="nvidia.com/gpu", pattern=r"^[a-z0-9.-]+/[A-Za-z0-9._-]+$")
    """The resource's name, as `kubectl describe node` lists it."""
    count: int = Field(default=1, ge=0, le=16)
    """How many; 0 takes none."""


class Retries(Options):
    """What happens when a pod fails; a step continues from its checkpoint where it has one."""

    count: int = Field(default=2, ge=0, le=10)
    """How often a failed step is started again."""
    backoff_seconds: int = Field(default=30, ge=0)
    """Pause before the first retry."""
    backoff_factor: float = Field(default=2.0, ge=1)
    """The pause grows by this factor."""
    max_backoff_seconds: int = Field(default=600, ge=0)
    """The longest pause."""


class Toleration(Options):
    """A taint of nodes that steps accept."""

    key: str = ""
    """Key of the taint; empty with operator Exists accepts every taint."""
    operator: Literal["Equal", "Exists"] = "Equal"
    """Whether the value counts."""
    value: str = ""
    """Value of the taint."""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute", ""] = ""
    """Effect of the taint; empty accepts all of them."""


class SecretVariables(Options):
    """Keys of one Secret that become environment variables. Values are never in the profile."""

    secret: Name
    """Name of the Secret in the namespace."""
    keys: dict[str, Variable] = Field(min_length=1)
    """Key of the Secret to name of the variable."""


class Volume(Options):
    """A persistent volume claim that every step mounts."""

    claim: Name
    """Name of the PersistentVolumeClaim."""
    mount_path: Folder
    """Where steps see it."""
    sub_path: str = Field(default="", pattern=r"^[^/].*$|^$")
    """Folder of the volume; empty mounts all of it."""


class Step(Options):
    """Settings of one step; what is left out is as in `defaults`."""

    image: Image | None = None
    """Another image, for example one without torch or one with a GPU's libraries."""
    resources: Resources = Resources()
    """Cores and memory."""
    gpu: Gpu = Gpu(count=0)
    """Accelerators."""
    shared_memory: Size = ""
    """Size of /dev/shm in memory; several loader processes or GPUs need more than the default
    64 MB. It counts towards the memory limit."""
    timeout_seconds: int = Field(default=0, ge=0)
    """The pod is ended after this time; 0 waits for ever."""
    retries: Retries = Retries()
    """What happens when a pod fails."""
    node_selector: dict[str, str] = Field(default_factory=dict)
    """Labels that a node must have."""
    tolerations: tuple[Toleration, ...] = ()
    """Taints that are accepted."""


class Trainer(Options):
    """Fine-tuning on several nodes by Kubeflow Trainer; resources, GPUs, taints and the timeout of
    each node are those of the step progressive_finetune, whose own pod then only waits."""

    nodes: int = Field(default=2, ge=1, le=64)
    """Pods that train one model together."""
    processes_per_node: int = Field(default=1, ge=1, le=16)
    """Processes in each pod, one per GPU."""
    image: Image | None = None
    """Image with torchrun; left out it is that of the step."""
    runtime: Name = "torch-distributed"
    """The training runtime that the job refers to; Trainer brings this one."""
    runtime_kind: Literal["ClusterTrainingRuntime", "TrainingRuntime"] = "ClusterTrainingRuntime"
    """Where the runtime is kept: for all namespaces, or in this one."""
    service_account: Name = "regraft-services"
    """Account of the training pods; they ask the API of Kubernetes nothing."""


class ClusterProfile(Options):
    """How the pipelines run on one cluster."""

    namespace: Name
    """Where runs live; a Kubeflow profile's namespace on a multi-user installation."""
    host: str = Field(default="", pattern=r"^(https?://[^@\s]+)?$")
    """Address of the Kubeflow Pipelines API; empty takes KFP_HOST or the one inside the cluster."""
    image: Image
    """Image of all steps that name no other."""
    image_pull_policy: Literal["IfNotPresent", "Always", "Never"] = "IfNotPresent"
    """When the image is pulled."""
    image_pull_secrets: tuple[Name, ...] = ()
    """Secrets with the registry's credentials."""
    service_account: Name = "pipeline-runner"
    """Account that the pods of a run use."""
    environment: dict[Variable, str] = Field(default_factory=dict)
    """Variables that are no secrets, such as MLFLOW_TRACKING_URI."""
    secrets: tuple[SecretVariables, ...] = ()
    """Variables whose values are in Secrets of the namespace."""
    volumes: tuple[Volume, ...] = ()
    """Claims that every step mounts: data, shared cache."""
    scratch: Size = ""
    """Size of an empty folder on /tmp for each step; empty uses the container's own file system."""
    run_as_user: int = Field(default=10001, gt=0)
    """Numeric user of the image; root is refused."""
    run_as_group: int = Field(default=10001, gt=0)
    """Numeric group of the image."""
    run_timeout_seconds: int = Field(default=0, ge=0)
    """A whole run is ended after this time; 0 waits for ever."""
    ttl_seconds_after_finished: int = Field(default=86400, ge=0)
    """Pods of a finished run are kept this long; artifacts stay. 0 keeps them."""
    defaults: Step = Step()
    """Settings of every step."""
    trainer: Trainer | None = None
    """Fine-tuning on several nodes; without it the step trains in its own pod."""
    steps: dict[str, Step] = Field(default_factory=dict)
    """Settings of single steps by the name of their component, laid over `defaults`."""

    @field_validator("environment")
    @classmethod
    def _no_secret_value(cls, values: dict[str, str]) -> dict[str, str]:
        for name, value in values.items():
            if _SECRET_NAME.search(name) or _SECRET_IN_ADDRESS.search(value):
                raise ValueError(
                    f"{name} looks like a secret: keep its value in a Secret and name that in "
                    "`secrets`"
                )
        return values

    @field_validator("steps")
    @classmethod
    def _known(cls, steps: dict[str, Step]) -> dict[str, Step]:
        names = step_names()
        for name in steps:
            if name not in names:
                close = difflib.get_close_matches(name, names, n=1)
                raise ValueError(
                    f"there is no step {name}"
                    + (f", did you mean {close[0]}?" if close else f"; steps: {', '.join(names)}")
                )
        return steps

    def step(self, name: str) -> Step:
        """The settings of one step: its own laid over the defaults, section by section."""
        own = self.steps.get(name, Step())
        return Step.model_validate(_laid_over(self.defaults, own))


def load_profile(path: str | Path, overrides: list[str] | None = None) -> ClusterProfile:
    """Read a profile and check every field; `overrides` have the form `dotted.path=value`.

    Raises
    ------
    UserError
        The file is missing or no YAML, a key is unknown, a value is ill-typed, an image has no
        fixed version, a variable looks like a secret.
    """
    return load_options(
        ClusterProfile,
        Path(path),
        overrides or [],
        noun="cluster profile",
        folder="infra/profiles",
        fields="the fields of docs/cluster.md",
    )


def step_names() -> list[str]:
    """Names of all components, which are the names of the steps."""
    import components

    return sorted(found.name for found in pkgutil.iter_modules(components.__path__) if found.ispkg)


def _laid_over(below: Options, above: Options) -> dict[str, Any]:
    """The fields that were written in `above`, and for the rest those of `below`."""
    values = {name: getattr(below, name) for name in below.model_fields_set}
    for name in above.model_fields_set:
        value = getattr(above, name)
        if isinstance(value, Resources) and isinstance(values.get(name), Resources):
            value = Resources.model_validate(_laid_over(values[name], value))
        values[name] = value
    return values
