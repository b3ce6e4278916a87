from __future__ import annotations

from pathlib import Path

import pytest

from regraft.errors import UserError
from regraft.registry import packaging, store, versions

from .support import log_run, never, register, scores, write_model


def test_references(registry: Path, model_folder: Path) -> None:
    register("a", model_folder, never)
    store.connect().set_registered_model_alias("plants", "shadow", "1")

    for reference in ("plants", "plants@champion", "plants@shadow", "plants/1", "plants/01"):
        assert versions.resolve(reference) == ("plants", "1")


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("plant", "expected: plants"),
        ("plants@shadow", "no alias 'shadow'"),
        ("plants/7", "no registered version '7'"),
        ("plants/latest", "not a reference"),
        ("plants@", "not a reference"),
        ("", "not a reference"),
        ("it's", "no model"),
    ],
)
def test_wrong_references(registry: Path, model_folder: Path, reference: str, message: str) -> None:
    register("a", model_folder, never)

    with pytest.raises(UserError, match=message):
        versions.resolve(reference)


def test_model_without_champion(registry: Path, model_folder: Path) -> None:
    register("a", model_folder, never, candidate=scores(0.4))

    with pytest.raises(UserError, match="regraft promote plants VERSION"):
        versions.resolve("plants")
    assert versions.resolve("plants/1") == ("plants", "1")


def test_empty_registry(registry: Path) -> None:
    with pytest.raises(UserError, match="nothing is registered yet"):
        versions.resolve("plants")


def test_pending_version_is_reused_and_hidden(registry: Path, model_folder: Path) -> None:
    run_id = log_run("a")
    first, again = [
        versions.register_candidate(
            "plants", model_folder, run_id, run_key="a", packages=("numpy",)
        )
        for _ in range(2)
    ]

    assert first == again
    with pytest.raises(UserError, match="no registered version"):
        versions.resolve(f"plants/{first}")


def test_name_that_mlflow_refuses(registry: Path, model_folder: Path) -> None:
    with pytest.raises(UserError, match="not a name for a model"):
        register("a", model_folder, never, name="my:model")


def test_folder_must_be_a_model_without_pickles(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="model.json missing"):
        packaging.check_model_folder(tmp_path)

    (write_model(tmp_path / "model") / "optimiser.pt").write_bytes(b"")
    with pytest.raises(ValueError, match="optimiser.pt"):
        packaging.check_model_folder(tmp_path / "model")


def test_lost_files_are_reported(registry: Path, model_folder: Path) -> None:
    register("a", model_folder, never)
    (registry / "artifacts" / "models").rename(registry / "moved")

    with (
        pytest.raises(UserError, match="files of model plants/1"),
        versions.model_folder("plants", "1"),
    ):
        pass
