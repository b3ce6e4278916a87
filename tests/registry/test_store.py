from __future__ import annotations

import logging
import os
import socket
from pathlib import Path

import pytest
import requests

from regraft.errors import UserError
from regraft.registry import store


def test_default_is_a_file_in_the_home(fresh_home: Path) -> None:
    assert store.tracking_uri() == f"sqlite:///{fresh_home / 'mlflow.db'}"


def test_environment_names_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow:5000")

    assert store.tracking_uri() == "http://mlflow:5000"
    assert not store.is_local(store.tracking_uri())


def test_first_start_is_quiet_and_leaves_the_rest_alone(
    fresh_home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    elsewhere = tmp_path / "cwd"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    before = logging.getLogger("mlflow").level

    client = store.connect()
    experiment = client.get_experiment(store.experiment_id(client, "plants"))

    assert capfd.readouterr() == ("", "")
    assert logging.getLogger("mlflow").level == before
    assert "MLFLOW_TRACKING_URI" not in os.environ
    assert list(elsewhere.iterdir()) == []
    assert experiment.artifact_location.startswith((fresh_home / "artifacts").as_uri())


def test_unreachable_server_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")

    with pytest.raises(UserError, match="does not answer"):
        store.connect()


def test_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("REGRAFT_HOME", str(tmp_path / "file" / "home"))

    with pytest.raises(UserError, match="cannot be written"):
        store.connect()


def test_file_that_is_no_database(fresh_home: Path) -> None:
    fresh_home.mkdir()
    (fresh_home / "mlflow.db").write_text("no database " * 100)

    with pytest.raises(UserError, match="cannot be opened"):
        store.connect()


def test_plain_folder_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "./mlruns")

    with pytest.raises(UserError, match="plain folders"):
        store.connect()


@pytest.mark.parametrize("status", [401, 500, 503])
def test_a_server_that_lost_its_database_is_out_of_reach(status: int) -> None:
    """MLflow's routes for artifacts answer 401 too while the users cannot be looked up."""
    with pytest.raises(UserError, match="cannot be used at the moment"), store.available():
        raise _answer(status)
    with pytest.raises(requests.HTTPError), store.available():
        raise _answer(404)


def _answer(status: int) -> requests.HTTPError:
    response = requests.Response()
    response.status_code = status
    return requests.HTTPError(f"{status} Client Error", response=response)
