"""Whole runs against the services of infra/: the registry in PostgreSQL, artifacts over S3."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.backups import back_up, restore
from tests.e2e.services import Services
from tests.e2e.support import Project, Result

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(3000)]  # several runs in one test
_LONG = 1400.0
NO_STUDENT = "distillation.enabled=false"


@dataclass(frozen=True)
class Finished:
    """Two runs that were started at the same time on an empty registry, on two machines: nothing
    but the registry is common to them."""

    services: Services
    machines: list[Project]
    results: list[Result]
    summaries: list[dict[str, Any]]


@pytest.fixture(scope="module")
def services() -> Iterator[Services]:
    """Not in a folder of pytest, which it closes to the other user that PostgreSQL runs as."""
    with tempfile.TemporaryDirectory(prefix="regraft-services-") as folder:
        found = Services(Path(folder))
        yield found
        found.stop()


@pytest.fixture(scope="module")
def finished(services: Services, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    machines = [
        Project(tmp_path_factory.mktemp(f"machine {number}"), environment=_environment(services))
        for number in range(2)
    ]
    commands = [
        machine.start_run(f"seed={seed}", NO_STUDENT) for seed, machine in enumerate(machines)
    ]
    results = [command.wait(_LONG) for command in commands]
    for result in results:
        assert result.code == 0, f"{result.text}\n{services.complaints()}"
    return Finished(services, machines, results, [machine.summary() for machine in machines])


def _environment(services: Services) -> dict[str, str]:
    """What a step knows of the services: the server's address and login. No key of the object
    store. The client asks a server that is gone for seconds instead of minutes."""
    return {**services.tracking.client(), "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3"}


def champion(services: Services) -> list[str]:
    return services.database.rows(
        "select version from registered_model_aliases where name = 'tiny' and alias = 'champion'"
    )


def runs_in_registry(services: Services, key: str, value: str) -> int:
    (count,) = services.database.rows(
        f"select count(*) from tags where key = '{key}' and value = '{value}'"
    )
    return int(count)


def test_two_runs_at_once_are_both_recorded_and_leave_one_champion(finished: Finished) -> None:
    decisions = [summary["decision"] for summary in finished.summaries]
    versions = {decision["candidate_version"] for decision in decisions}
    assert versions == {"1", "2"}
    entries = finished.machines[0].history()
    assert entries == finished.machines[1].history()
    assert {entry["candidate_version"] for entry in entries} == versions
    assert len(entries) == 2
    assert {entry["state"] for entry in entries} <= {"done", "superseded"}
    assert "first" in {entry["outcome"] for entry in entries}
    moved = {entry["candidate_version"] for entry in entries
             if entry["outcome"] in {"first", "promote"} and entry["state"] == "done"}  # fmt: skip
    (now,) = champion(finished.services)
    assert now in moved
    assert runs_in_registry(finished.services, "regraft.status", "complete") == 2


def test_artifacts_are_in_the_object_store_and_nowhere_else(finished: Finished) -> None:
    keys = finished.services.store.keys("mlflow")
    assert all(key.startswith("artifacts/") for key in keys)
    for name in ("model.safetensors", "report.html", "manifest.parquet", "recipe.json"):
        assert sum(key.endswith(f"/{name}") for key in keys) == 2, name
    for machine in finished.machines:
        assert not list(machine.home.glob("**/mlflow.db"))
        assert not (machine.home / "artifacts").exists()


def test_the_object_store_refuses_a_wrong_key(finished: Finished) -> None:
    from botocore.exceptions import ClientError

    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        finished.services.store.client("another secret").list_buckets()


def test_a_wrong_password_is_one_clear_message(finished: Finished) -> None:
    machine = finished.machines[0]
    right = machine.environment
    machine.environment = {**right, "MLFLOW_TRACKING_PASSWORD": "guessed"}
    try:
        result = machine.call("history", "tiny")
    finally:
        machine.environment = right
    assert result.code == 2, result.text
    assert "MLFLOW_TRACKING_USERNAME" in result.text
    assert "guessed" not in result.text
    assert "Traceback" not in result.text


@pytest.mark.parametrize(("crashing", "gain"), [("database", 0.01), ("tracking", 0.02)])
def test_a_service_that_crashes_in_the_middle_of_a_registration_costs_nothing(
    crashing: str, gain: float, finished: Finished
) -> None:
    """It is killed and comes back while the client tries again."""
    services, machine = finished.services, finished.machines[0]
    service = getattr(services, crashing)
    harder = ("seed=0", NO_STUDENT, f"gate.min_gain={gain}")  # only the registration is done again
    before = machine.history()
    run = machine.start_run(*harder)
    run.when(lambda: runs_in_registry(services, "regraft.status", "incomplete") > 0)
    service.kill()
    service.start()
    result = run.wait(_LONG)
    assert "Traceback" not in result.text
    if result.code:  # the client gave up sooner than the service was back
        assert result.code == 2, result.text
        assert "run the same command again" in result.text
        machine.run(*harder)
    now = machine.history()
    assert now[:-1] == before
    assert now[-1]["state"] == "done"
    assert {step["name"] for step in machine.summary()["steps"] if not step["cached"]} == {
        "registration"
    }


def test_a_backup_brings_registry_and_ledger_back(finished: Finished, tmp_path: Path) -> None:
    """The scripts of infra/ themselves: dump into the bucket, loss of everything, restore."""
    services, machine = finished.services, finished.machines[0]
    before, alias = machine.history(), champion(services)
    back_up(services, tmp_path)
    assert [key.endswith(".dump") for key in services.store.keys("regraft-backups")] == [True]
    services.tracking.kill()
    services.database.run("dropdb", "--force", "mlflow")
    services.database.run("createdb", "mlflow")
    shown = restore(services, tmp_path)
    assert "tiny" in shown
    services.tracking.start()
    assert machine.history() == before
    assert champion(services) == alias
    photo = next(machine.photos.glob("*/*.jpg"))
    assert machine.call("predict", "tiny", str(photo), "--json").code == 0


def test_a_damaged_dump_changes_nothing(finished: Finished, tmp_path: Path) -> None:
    """The restore is one transaction: it succeeds or leaves what was there."""
    services = finished.services
    (key,) = services.store.keys("regraft-backups")
    whole = services.store.client().get_object(Bucket="regraft-backups", Key=key)["Body"].read()
    services.store.client().put_object(
        Bucket="regraft-backups", Key=key.replace("mlflow-", "mlflow-9"), Body=whole[:-4000]
    )
    before = services.database.rows("select run_uuid from runs order by 1")
    with pytest.raises(AssertionError, match="pg_restore"):
        restore(services, tmp_path)
    assert services.database.rows("select run_uuid from runs order by 1") == before
