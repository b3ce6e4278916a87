"""The steps of a local run in containers: the images of a cluster, on this machine's engine.

A step sees the raw files (to read), its run's artifacts and records, and the home folder, each at
the path that it has outside, and nothing else of the machine. It runs as the user who started the
run, without capabilities, with a read-only root, and without network unless the registry is a
server or `REGRAFT_CONTAINER_NETWORK` names one of the engine's networks.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.base import IMAGE
from pipelines.arguments import code_version, input_folders
from pipelines.profile import ClusterProfile, Retries, Step, step_names
from regraft.errors import UserError
from regraft.progress import note
from regraft.recipe import Recipe
from regraft.registry import store

if TYPE_CHECKING:
    from docker import DockerClient  # type: ignore[attr-defined]

_PASSED_ON = ("MLFLOW_", "OMP_NUM_THREADS", "REGRAFT_TRACEBACK")
_FOLDER = "dev.regraft.run"
_SHARED_MEMORY = "2g"
_VERSION = "from pipelines.arguments import code_version as v; print(v())"


class Containers:
    """Where the steps of one run are executed, checked before the first step.

    Raises UserError where no engine answers or an image is neither here nor to be pulled.
    """

    def __init__(self, profile: ClusterProfile | None, recipe: Recipe, out_dir: Path) -> None:
        self.profile = images_of(profile) if profile else None
        self._client = _engine()
        self._folder = out_dir.absolute()
        self._inputs = input_folders(recipe)
        self.images = {
            name: _found(self._client, name).id for name in sorted(_references(self.profile))
        }
        self.code_version = self._code_version(_main_image(self.profile))

    @property
    def cache_root(self) -> Path:
        """Cached steps lie in the run's own folder, because steps see no other run's; the key of
        Kubeflow's cache has the name of an image but not what is in it."""
        content = hashlib.sha256("".join(self.images.values()).encode()).hexdigest()
        return self._folder / "step_cache" / content[:16]

    def runner(self, environment: dict[str, str]) -> Any:
        """Kubeflow's DockerRunner; `environment` is given to each step."""
        from kfp import local

        given = {name: value for name, value in os.environ.items() if name.startswith(_PASSED_ON)}
        return local.DockerRunner(
            environment=given | {"MLFLOW_TRACKING_URI": store.tracking_uri()} | environment,
            mounts=self._mounts(Path(environment["REGRAFT_STEP_RECORDS"])),
            labels={_FOLDER: str(self._folder)},
            network_mode=_network(),
            user=f"{os.getuid()}:{os.getgid()}",
            read_only=True,
            tmpfs={"/tmp": ""},
            shm_size=_SHARED_MEMORY,
            cap_drop=["ALL"],
            security_opt=["no-new-privileges:true"],
        )

    @contextlib.contextmanager
    def removed(self) -> Iterator[None]:
        """No container of this folder lives before or after: an interrupted runner leaves its own
        alive, and so does one that was killed. The folder is claimed by one run at a time."""
        self._remove()
        try:
            yield
        finally:
            self._remove()
            self._client.close()

    def _remove(self) -> None:
        from docker.errors import APIError, NotFound  # type: ignore[import-not-found]

        label = f"{_FOLDER}={self._folder}"
        for container in self._client.containers.list(filters={"label": label}):
            with contextlib.suppress(NotFound, APIError):  # it ended meanwhile
                container.kill()

    def _mounts(self, records: Path) -> list[Any]:
        from docker.types import Mount  # type: ignore[import-not-found]

        written = {records, store.home(), store.store_folder(store.tracking_uri())}
        read = {path.resolve() for path in self._inputs} | set(self._inputs)
        return [
            Mount(str(path), str(path), type="bind", read_only=path in read - written)
            for path in sorted(read | written)
        ]

    def _code_version(self, image: str) -> str:
        """Of the library in the image, which is what a container runs."""
        command = ["python", "-c", _VERSION]
        run = self._client.containers.run
        version = run(image, command, network_mode="none", remove=True).decode().strip()
        if version != code_version():
            note(f"{image} holds other code or libraries than this folder: the image's are used")
        return str(version)


def images_of(profile: ClusterProfile) -> ClusterProfile:
    """A profile's images; its volumes, secrets and retries belong to the cluster."""
    steps = {name: Step(image=profile.step(name).image) for name in step_names()}
    return ClusterProfile(
        namespace=profile.namespace,
        image=profile.image,
        defaults=Step(retries=Retries(count=0)),
        steps={name: step for name, step in steps.items() if step.image},
    )


def _references(profile: ClusterProfile | None) -> set[str]:
    if profile is None:
        return {IMAGE}
    steps = [profile.step(name).image for name in step_names()]
    return {(image or profile.image).reference() for image in steps}


def _main_image(profile: ClusterProfile | None) -> str:
    return profile.image.reference() if profile else IMAGE


def _network() -> str:
    """By default none where the registry is a file, and this machine's where it is a server."""
    default = "none" if store.is_local(store.tracking_uri()) else "host"
    return os.environ.get("REGRAFT_CONTAINER_NETWORK", default)


def _engine() -> DockerClient:
    from docker.errors import DockerException

    from docker import from_env  # type: ignore[attr-defined]

    try:
        client = from_env(timeout=600)
        client.ping()
    except DockerException as error:
        raise UserError(
            "no container engine answers",
            where=os.environ.get("DOCKER_HOST", "DOCKER_HOST is not set: the default socket"),
            got=str(error).splitlines()[0],
            fix="start Docker (check with: docker info), or leave --runner docker out",
        ) from error
    return client


def _found(client: DockerClient, reference: str) -> Any:
    """The image, pulled if it is not here."""
    from docker.errors import APIError, ImageNotFound

    try:
        return client.images.get(reference)
    except ImageNotFound:
        note(f"pulling {reference}")
    try:
        return client.images.pull(reference)
    except APIError as error:
        target = reference.partition("@")[0].rpartition("/")[2].partition(":")[0]
        raise UserError(
            f"there is no image {reference}",
            got=str(error.explanation or error).splitlines()[0],
            fix=f"docker build -f docker/Dockerfile --target {target} -t {reference} .",
        ) from error
