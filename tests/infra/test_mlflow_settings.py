"""What the manifests tell MLflow is what the MLflow of the lock understands."""

from __future__ import annotations

from typing import Any

import pytest

from tests.infra.rendered import INFRA, containers, needs_kubectl, pods


def test_the_file_of_the_login_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("flask_wtf", reason="the extra `server` is not installed")
    from mlflow.server.auth.config import read_auth_config

    monkeypatch.setenv("MLFLOW_AUTH_CONFIG_PATH", str(INFRA / "base" / "basic_auth.ini"))
    monkeypatch.setenv("MLFLOW_AUTH_ADMIN_USERNAME", "admin")
    monkeypatch.setenv("MLFLOW_AUTH_ADMIN_PASSWORD", "given")
    config = read_auth_config()
    assert config.database_uri == "postgresql+psycopg2://postgres:5432/mlflow"
    assert config.default_permission == "READ"
    assert config.admin_password == "given", "only the Secret knows it"


@needs_kubectl
def test_flags_and_variables_exist() -> None:
    from mlflow import environment_variables
    from mlflow.cli import server

    (container,) = containers(dict(pods("overlays/cluster"))["mlflow"])
    known = {flag for parameter in server.params for flag in parameter.opts}
    flags = {argument.partition("=")[0] for argument in container["args"]}
    assert flags <= known
    read_by_click: set[Any] = {parameter.envvar for parameter in server.params}
    for variable in container["env"]:
        name = variable["name"]
        if name.startswith("MLFLOW_"):
            assert hasattr(environment_variables, name) or name in read_by_click, name
