"""A registry per test, and a model folder that needs no deep-learning stack."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from regraft.registry import store

from .support import FakePredictor, write_model


@pytest.fixture(scope="session", autouse=True)
def one_look_at_the_migrations() -> Iterator[None]:
    """MLflow reads all its migration scripts (0.4 s) for every store that a test opens."""
    from mlflow.store.db import utils

    with pytest.MonkeyPatch.context() as patch:
        once = functools.cache(utils._get_latest_schema_revision)
        patch.setattr(utils, "_get_latest_schema_revision", once)
        yield


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Creating MLflow's tables takes seconds: do it once and copy the file."""
    home = tmp_path_factory.mktemp("template")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REGRAFT_HOME", str(home))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        store.connect()
    return home / "mlflow.db"


@pytest.fixture
def fresh_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with blank and umlaut in its name, and nothing in it."""
    home = tmp_path / "my régistry"
    monkeypatch.setenv("REGRAFT_HOME", str(home))
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    return home


@pytest.fixture
def registry(fresh_home: Path, empty_database: Path) -> Iterator[Path]:
    """A home with an initialised, empty store."""
    fresh_home.mkdir()
    shutil.copy(empty_database, fresh_home / "mlflow.db")
    yield fresh_home


@pytest.fixture
def model_folder(tmp_path: Path) -> Path:
    return write_model(tmp_path / "student")


@pytest.fixture
def fake_task(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("regraft.tasks.load_model", FakePredictor, raising=False)
