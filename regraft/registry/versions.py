"""Model versions: created in one piece, found again by run key, named by a reference.

A version begins as `regraft.status=pending` and becomes `registered` with the gate's decision.
Pending versions are invisible to `resolve`; a later attempt with the same run key takes them up.
"""

from __future__ import annotations

import difflib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from regraft.errors import UserError
from regraft.registry import packaging, store

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel
    from mlflow.entities.model_registry import ModelVersion

CHAMPION = "champion"
STATUS = "regraft.status"
RUN_KEY = "regraft.run_key"
_NOT_IN_NAMES = set("/:.%\"'@`")
_PENDING = "pending"
_REGISTERED = "registered"


class Reference(NamedTuple):
    """One registered version of a model."""

    name: str
    version: str


def check_name(name: str) -> None:
    """Raise `UserError` for a model name that MLflow or a reference cannot hold."""
    refused = sorted(set(name) & _NOT_IN_NAMES)
    if refused or not name.strip():
        raise UserError(
            "not a name for a model",
            got=name,
            expected="some text without " + " ".join(sorted(_NOT_IN_NAMES)),
        )


def register_candidate(
    name: str,
    model_folder: Path | str,
    run_id: str,
    *,
    run_key: str,
    tags: Mapping[str, str] | None = None,
    input_name: str = "image",
    input_example: str | None = None,
    packages: Sequence[str] = packaging.IMAGE_PACKAGES,
) -> str:
    """Store the model under run `run_id` and return its new version number, still pending.

    Called again with the same `run_key` it returns the version of the earlier attempt; an upload
    that was cut off is completed. Call it under the lock of `name`.
    """
    check_name(name)
    client = store.connect()
    found = _with_run_key(client, name, run_key)
    if found:
        return str(found[0].version)
    with store.quiet():
        logged = _logged_model(client, name, run_id, run_key)
        if logged.status != "READY":
            _upload(client, logged, Path(model_folder), input_name, input_example, packages)
        _ensure_model(client, name)
        version = client.create_model_version(
            name,
            source=logged.artifact_location,
            run_id=run_id,
            model_id=logged.model_id,
            tags={**(tags or {}), STATUS: _PENDING, RUN_KEY: run_key},
        )
    return str(version.version)


def mark_registered(name: str, version: str, *, outcome: str) -> None:
    """The decision on the version is made and carried out."""
    client = store.connect()
    client.set_model_version_tag(name, version, "regraft.outcome", outcome)
    client.set_model_version_tag(name, version, STATUS, _REGISTERED)


def remove_leftovers(name: str, *, keep_run_key: str) -> list[str]:
    """Delete pending versions that a killed registration left, and return their numbers.

    Only for a local store and under the lock of `name`: on a server a pending version may belong
    to another machine that is still at work.
    """
    if not store.is_local(store.tracking_uri()):
        return []
    client = store.connect()
    left = [version for version in _versions(client, name) if _is_pending(version)]
    left = [version for version in left if version.tags.get(RUN_KEY) != keep_run_key]
    for version in left:
        client.delete_model_version(name, str(version.version))
    return [str(version.version) for version in left]


def champion(name: str) -> str | None:
    """Version number of the champion, None when the model is unknown or has none."""
    return _alias(store.connect(), name, CHAMPION)


@store.available()
def resolve(reference: str) -> Reference:
    """The version meant by `NAME` (its champion), `NAME@ALIAS` or `NAME/VERSION`.

    Raises `UserError` for a model, alias or version that does not exist or is not registered yet.
    """
    client = store.connect()
    name, alias, version = _parse(reference)
    _check_known(client, name)
    if version is None:
        version = _alias(client, name, alias)
        if version is None:
            raise _without_alias(client, name, alias)
    return check_registered(name, version)


def check_registered(name: str, version: str) -> Reference:
    """The version if it is registered, else a `UserError` that lists those which are."""
    client = store.connect()
    registered = registered_versions(client, name)
    if version not in registered:
        raise UserError(
            f"model {name!r} has no registered version {version!r}",
            expected=_listed(registered),
            fix=f"regraft history {name}",
        )
    return Reference(name, version)


def registered_versions(client: MlflowClient, name: str) -> list[str]:
    """Numbers of the versions whose registration is finished, oldest first."""
    done = [version for version in _versions(client, name) if not _is_pending(version)]
    return sorted((str(version.version) for version in done), key=int)


@contextmanager
def model_folder(name: str, version: str) -> Iterator[Path]:
    """The model folder of a version as a local folder, for as long as the context lasts.

    A local store is read in place; from a server the files are downloaded and removed afterwards.
    """
    with package_folder(name, version) as package:
        yield packaging.artifact_folder(package)


@contextmanager
def package_folder(name: str, version: str) -> Iterator[Path]:
    """The whole MLflow model of a version as a local folder, as `model_folder` does."""
    source = store.connect().get_model_version_download_uri(name, version)
    with tempfile.TemporaryDirectory(prefix="regraft-model-") as temporary:
        yield _fetch(f"{name}/{version}", source, temporary)


def _fetch(reference: str, source: str, temporary: str) -> Path:
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    target = None if source.startswith(("file:", "/")) else temporary
    try:
        with store.quiet():
            model = download_artifacts(
                artifact_uri=source, dst_path=target, tracking_uri=store.tracking_uri()
            )
    except (MlflowException, OSError) as error:
        raise UserError(
            f"the files of model {reference} cannot be read",
            where=source,
            got=str(error).splitlines()[0],
            fix="restore the artifact folder, or use another version",
        ) from error
    return Path(model)


def _logged_model(client: MlflowClient, name: str, run_id: str, run_key: str) -> LoggedModel:
    """MLflow's record of the model: that of an earlier attempt, else a new one."""
    experiment = client.get_run(run_id).info.experiment_id
    found = client.search_logged_models(
        [experiment], filter_string=f"tags.`{RUN_KEY}` = {store.quoted(run_key)}"
    )
    mine = [model for model in found if model.source_run_id == run_id and model.name == name]
    if mine:
        return mine[0]
    return client.create_logged_model(
        experiment, name=name, source_run_id=run_id, tags={RUN_KEY: run_key}
    )


def _upload(
    client: MlflowClient,
    logged: LoggedModel,
    folder: Path,
    input_name: str,
    input_example: str | None,
    packages: Sequence[str],
) -> None:
    from mlflow.entities import LoggedModelOutput

    with tempfile.TemporaryDirectory(prefix="regraft-package-") as temporary:
        path = Path(temporary) / "model"
        packaging.save_pyfunc(
            path,
            folder,
            logged=logged,
            input_name=input_name,
            input_example=input_example,
            packages=packages,
        )
        client.log_model_artifacts(logged.model_id, str(path))
    client.log_outputs(str(logged.source_run_id), [LoggedModelOutput(logged.model_id, step=0)])
    client.finalize_logged_model(logged.model_id, "READY")


def _ensure_model(client: MlflowClient, name: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _with_run_key(client: MlflowClient, name: str, run_key: str) -> list[ModelVersion]:
    return [found for found in _versions(client, name) if found.tags.get(RUN_KEY) == run_key]


def _versions(client: MlflowClient, name: str) -> list[Any]:
    filter_string = f"name = {store.quoted(name)}"
    return store.all_pages(client.search_model_versions, filter_string=filter_string)


def _is_pending(version: ModelVersion) -> bool:
    return bool(version.tags.get(STATUS) == _PENDING)


def _alias(client: MlflowClient, name: str, alias: str) -> str | None:
    from mlflow.exceptions import MlflowException

    try:
        return str(client.get_model_version_by_alias(name, alias).version)
    except MlflowException as error:
        if error.error_code in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}:
            return None
        raise


def _parse(reference: str) -> tuple[str, str, str | None]:
    name, slash, version = reference.partition("/")
    if slash:
        if not name or not version.isdigit():
            raise _bad_reference(reference)
        return name, "", str(int(version))
    name, at, alias = reference.partition("@")
    if not name or (at and not alias):
        raise _bad_reference(reference)
    return name, alias or CHAMPION, None


def _bad_reference(reference: str) -> UserError:
    return UserError(
        "not a reference to a model", got=reference, expected="NAME, NAME@ALIAS or NAME/VERSION"
    )


def _check_known(client: MlflowClient, name: str) -> None:
    names = [model.name for model in store.all_pages(client.search_registered_models)]
    if name in names:
        return
    near = difflib.get_close_matches(name, names, n=3) or sorted(names)
    raise UserError(
        f"no model {name!r} in the registry",
        where=store.tracking_uri(),
        expected=_listed(near),
        fix="correct the name, or train it with regraft run RECIPE",
    )


def _without_alias(client: MlflowClient, name: str, alias: str) -> UserError:
    versions = registered_versions(client, name)
    if alias != CHAMPION:
        return UserError(
            f"model {name!r} has no alias {alias!r}",
            expected=_listed([f"{name}/{number}" for number in versions]),
        )
    return UserError(
        f"model {name!r} has no champion: no version passed the gate so far",
        expected=_listed([f"{name}/{number}" for number in versions]),
        fix=f"regraft promote {name} VERSION --reason TEXT, or name a version as {name}/VERSION",
    )


def _listed(names: Sequence[str], limit: int = 5) -> str:
    if not names:
        return "nothing is registered yet"
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[-limit:]) + more
