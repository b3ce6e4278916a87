"""Where runs, models and the ledger are kept, and a client for it.

`MLFLOW_TRACKING_URI` names a server or database; without it a SQLite file in the project's own
folder is used, so that a fresh machine needs nothing. Nothing here changes MLflow's global state:
every caller works through the client it gets.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regraft.errors import UserError

if TYPE_CHECKING:
    from mlflow import MlflowClient

_SQLITE = "sqlite:///"
_ARTIFACTS = "artifacts"
_SECONDS_TO_ANSWER = 5.0
_QUIET = {
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}


def home() -> Path:
    """Folder of everything that Regraft keeps on this machine: `REGRAFT_HOME` or `./.regraft`."""
    return Path(os.environ.get("REGRAFT_HOME") or ".regraft").resolve()


def tracking_uri() -> str:
    """Address of the MLflow store: `MLFLOW_TRACKING_URI`, else a SQLite file in `home()`."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"{_SQLITE}{home() / 'mlflow.db'}"


def is_local(uri: str) -> bool:
    """Is the store a file that only processes of this machine write to?"""
    return uri.startswith("sqlite:")


def store_folder(uri: str) -> Path:
    """Folder for locks and local artifacts: beside the SQLite file, else `home()`.

    Locks lie beside the file that they protect, so that two processes with one registry but
    different homes still exclude each other.
    """
    if uri.startswith(_SQLITE):
        return Path(uri.removeprefix(_SQLITE)).resolve().parent
    return home()


def writable_folder(folder: Path) -> Path:
    """Create `folder` and return it. Raises `UserError` where that is not permitted."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _not_writable(folder, error.strerror or str(error)) from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise _not_writable(folder, "no write permission")
    return folder


def connect() -> MlflowClient:
    """Client for the store at `tracking_uri()`, created on first use.

    Raises `UserError` when the server does not answer or the folder cannot be written.
    """
    uri = tracking_uri()
    if is_local(uri):
        writable_folder(store_folder(uri))
    return _client(uri)


@lru_cache(maxsize=8)
def _client(uri: str) -> MlflowClient:
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    if uri.startswith(("http://", "https://")):
        _check_server(uri)
    elif "://" not in uri or uri.startswith("file:"):
        raise UserError(
            "MLflow no longer keeps runs in plain folders",
            where="MLFLOW_TRACKING_URI",
            got=uri,
            expected="sqlite:///FILE.db or the http address of a server",
            fix="unset it to use the SQLite file in .regraft",
        )
    with quiet(), _one_at_a_time(uri):
        if is_local(uri):
            _refuse_lost_database(uri)
        return _open(uri)


def _refuse_lost_database(uri: str) -> None:
    """A new database beside the artifacts of an old one would begin with no champion at all."""
    file, artifacts = Path(uri.removeprefix(_SQLITE)), store_folder(uri) / _ARTIFACTS
    is_there = file.is_file() and file.stat().st_size > 0
    if not is_there and artifacts.is_dir() and any(artifacts.iterdir()):
        raise UserError(
            "the database of the registry is gone",
            where=str(file),
            got=f"none, but there are models in {artifacts}",
            expected="the file that knows which of them is champion",
            fix="put it back and run the same command again, or move the artifacts away",
        )


def _check_server(uri: str) -> None:
    """Ask once with a short timeout: MLflow itself retries for minutes before it gives up."""
    import requests  # type: ignore[import-untyped]

    try:
        requests.get(f"{uri.rstrip('/')}/health", timeout=_SECONDS_TO_ANSWER)
    except requests.exceptions.SSLError:
        return  # it answers; which certificates to trust is a setting of MLflow
    except requests.RequestException as error:
        raise UserError(
            "the MLflow server does not answer",
            where="MLFLOW_TRACKING_URI",
            got=uri,
            expected=f"an answer within {_SECONDS_TO_ANSWER:g} s",
            fix="start the server, correct the address, or unset it to use a "
            f"local file ({type(error).__name__})",
        ) from error


def _open(uri: str) -> MlflowClient:
    """Touch both halves of the store, which creates the tables of a new SQLite file."""
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        client = MlflowClient(tracking_uri=uri)
        client.search_experiments(max_results=1)
        client.search_registered_models(max_results=1)
    except (MlflowException, SQLAlchemyError) as error:
        if "error code 401" in str(error):
            raise _not_logged_in(uri) from error
        raise UserError(
            "the MLflow store cannot be opened",
            where="MLFLOW_TRACKING_URI",
            got=uri,
            expected="a store of this MLflow version that you may use",
            fix=str(error).strip().splitlines()[0],
        ) from error
    return client


def _not_logged_in(uri: str) -> UserError:
    return UserError(
        "the MLflow server does not know this user",
        where="MLFLOW_TRACKING_URI",
        got=f"{uri} answers 401",
        expected="a user and a password that the server knows",
        fix="set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD (on a cluster the Secret "
        "mlflow-client; docs/cluster.md, step 6)",
    )


@contextmanager
def _one_at_a_time(uri: str) -> Iterator[None]:
    """MLflow's table creation is not safe against a second process on the same new file."""
    if not is_local(uri):
        yield
        return
    from regraft.registry.lock import locked

    with locked(".store", folder=store_folder(uri)):
        yield


@contextmanager
def available() -> Iterator[None]:
    """Turn a store that is locked or gone into one `UserError`, without MLflow's tracebacks.

    MLflow has waited by then (20 s for a locked SQLite file). Every command that writes can be
    called again: it finishes what it had begun.
    """
    from mlflow.exceptions import MlflowException
    from requests import HTTPError  # type: ignore[import-untyped]

    logger = logging.getLogger("mlflow.store.db.utils")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    except (MlflowException, HTTPError) as error:
        if not _is_out_of_reach(error):
            raise
        raise UserError(
            "the registry cannot be used at the moment",
            where=tracking_uri(),
            got=str(error).splitlines()[0][:300],
            expected="a database or server that is there, writable and not locked",
            fix="see what holds it or bring it back, then run the same command again: it finishes "
            "what it had begun, nothing is lost",
        ) from error
    finally:
        logger.setLevel(level)


def _is_out_of_reach(error: Any) -> bool:
    """A database that is locked or gone, or a server that stopped answering.

    On its routes for artifacts (the ones that raise HTTPError) the server takes every failure to
    look a user up for a wrong password: a 401 after a login that worked is a database that is away.
    """
    response = getattr(error, "response", None)
    if response is not None:
        return response.status_code == 401 or response.status_code >= 500
    lost = "API request to" in str(error) and "failed with exception" in str(error)
    return error.error_code == "TEMPORARILY_UNAVAILABLE" or lost


@contextmanager
def quiet() -> Iterator[None]:
    """Hold back MLflow's start-up chatter, progress bars and links; warnings still show."""
    loggers = [logging.getLogger(name) for name in ("mlflow", "alembic")]
    levels = [logger.level for logger in loggers]
    before = {name: os.environ.get(name) for name in _QUIET}
    os.environ.update(_QUIET)
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def experiment_id(client: MlflowClient, name: str) -> str:
    """Id of the experiment, created when missing; its artifacts lie beside a SQLite store."""
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is not None:
        if found.lifecycle_stage == "deleted":
            client.restore_experiment(found.experiment_id)
        return str(found.experiment_id)
    try:
        return str(client.create_experiment(name, artifact_location=_artifacts(tracking_uri())))
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
        return experiment_id(client, name)  # another process was faster


def _artifacts(uri: str) -> str | None:
    """Only a local store needs telling; a server has its own artifact root."""
    return (store_folder(uri) / _ARTIFACTS).as_uri() if is_local(uri) else None


def all_pages(search: Any, **arguments: Any) -> list[Any]:
    """Every result of a paged MLflow search, not only the first page."""
    page = search(**arguments)
    found = list(page)
    while page.token:
        page = search(**arguments, page_token=page.token)
        found.extend(page)
    return found


def quoted(text: str) -> str:
    """A string literal for MLflow's filter language.

    Raises `UserError` on a quote character, which that language cannot escape.
    """
    if "'" in text or '"' in text:
        raise UserError("names in the registry must not contain quotes", got=text)
    return f"'{text}'"


def _not_writable(folder: Path, why: str) -> UserError:
    return UserError(
        "the registry folder cannot be written",
        where=str(folder),
        got=why,
        expected="a folder that you may write to",
        fix="set REGRAFT_HOME to another folder, or mend its permissions",
    )
