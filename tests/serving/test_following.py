"""The alias moves, the registry goes away, a version cannot be loaded: who answers?"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from regraft.errors import UserError
from regraft.registry import store
from regraft.serving import loaded
from regraft.serving.following import Follower, find

from .servers import Running, World, running, until
from .support import BrightnessPredictor, picture
from .test_server import blocking

DARK = picture(51)
PNG = {"content-type": "image/png"}


def ask(client: httpx.Client) -> dict[str, Any]:
    response = client.post("/predict", content=DARK, headers=PNG)
    assert response.status_code == 200, response.text
    return dict(response.json())


def version_of(server: Running) -> str:
    return server.service.model.version


def test_a_moved_alias_changes_who_answers_and_fails_nobody() -> None:
    done, seen = threading.Event(), []
    with running() as server:

        def go_on_asking(_: int) -> list[int]:
            with server.client() as client:
                versions = []
                while not done.is_set():
                    versions.append(int(ask(client)["version"]))
            return versions

        with ThreadPoolExecutor(4) as pool:
            asking = [pool.submit(go_on_asking, n) for n in range(4)]
            for version in ("2", "3"):
                answered = len(server.log.records)
                until(lambda n=answered: len(server.log.records) > n + 20)
                server.world.aliases["champion"] = version
                until(lambda v=version: version_of(server) == v)
            answered = len(server.log.records)
            until(lambda: len(server.log.records) > answered + 20)
            done.set()
            seen = [future.result(30) for future in asking]

    for versions in seen:
        assert versions == sorted(versions)
    assert set().union(*seen) == {1, 2, 3}
    assert server.world.loads == ["1", "2", "3"]


def test_back_to_the_old_version_as_a_rollback_does() -> None:
    with running() as server, server.client() as client:
        for version in ("2", "1"):
            server.world.aliases["champion"] = version
            until(lambda v=version: version_of(server) == v)
            assert ask(client)["version"] == version


def test_a_request_ends_on_the_model_that_it_began_with() -> None:
    world, go = blocking()
    with running(world=world) as server, server.client() as client, ThreadPoolExecutor(1) as pool:
        first = pool.submit(ask, client)
        until(lambda: not server.service.batcher.idle)
        world.aliases["champion"] = "2"
        until(lambda: version_of(server) == "2")
        go.set()

        assert first.result(30)["version"] == "1"
        assert ask(client)["version"] == "2"


def test_a_registry_that_is_gone_changes_nothing() -> None:
    with running() as server, server.client() as client:
        server.world.problem = UserError("the registry's database is gone")
        until(lambda: client.get("/readyz").json()["registry"]["problem"] != "")
        ready = client.get("/readyz")
        assert ready.status_code == 200
        assert ready.json()["registry"]["problem"] == "the registry's database is gone"
        unseen = ready.json()["registry"]["seconds_ago"]
        until(lambda: client.get("/readyz").json()["registry"]["seconds_ago"] > unseen)
        assert ask(client)["version"] == "1"

        server.world.aliases["champion"] = "2"
        server.world.problem = None
        until(lambda: version_of(server) == "2")
        until(lambda: client.get("/readyz").json()["registry"]["problem"] == "")


def test_a_version_that_cannot_be_loaded_is_left_alone() -> None:
    world = World(broken={"2"})
    with running(world=world) as server, server.client() as client:
        world.aliases["champion"] = "2"
        until(lambda: client.get("/readyz").json()["registry"]["problem"] != "")
        assert "weights are missing" in client.get("/readyz").json()["registry"]["problem"]
        assert ask(client)["version"] == "1"
        assert "regraft_model_load_failures 1.0" in client.get("/metrics").text
        world.aliases["champion"] = "3"
        until(lambda: version_of(server) == "3")

    assert world.loads.count("2") == 1, "it was not tried again at every look"


def test_a_server_without_a_champion_does_not_start() -> None:
    world = World(problem=UserError("model 'plants' has no champion"))
    with pytest.raises(UserError, match="no champion"), running(world=world):
        pass


class Dull(BrightnessPredictor):
    def answer(self, inputs: list[Any]) -> Any:
        return [{"label": "weed", "confidence": 1.0, "probabilities": {}}], [[0.0]]


def test_a_version_must_answer_its_own_example(
    registered: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    reference = find("plants")

    assert loaded.load(reference).predictor.classes == ["dark", "light"]
    monkeypatch.setattr("regraft.tasks.load_model", Dull)
    with pytest.raises(UserError, match="does not answer its own example"):
        loaded.load(reference)


@pytest.fixture
def follower(registered: dict[str, Any]) -> Iterator[Follower]:
    made = Follower("plants", poll_seconds=0.02)
    made.start()
    yield made
    made.stop()


def test_the_database_goes_and_comes_back(follower: Follower, tmp_path: Path) -> None:
    database = Path(store.tracking_uri().removeprefix("sqlite:///"))
    database.rename(tmp_path / "away.db")
    try:
        until(lambda: "gone" in follower.status()["problem"])
        assert not database.exists(), "looking for it must not create it"
        assert follower.current is not None and follower.current.version == "1"
    finally:
        (tmp_path / "away.db").rename(database)

    until(lambda: follower.status()["problem"] == "")


def test_a_locked_database_is_waited_for(follower: Follower) -> None:
    database = Path(store.tracking_uri().removeprefix("sqlite:///"))
    holder = sqlite3.connect(database, isolation_level=None)
    holder.execute("PRAGMA locking_mode=EXCLUSIVE")
    holder.execute("BEGIN EXCLUSIVE")
    try:
        until(lambda: follower.seconds_unseen > 1)
        assert follower.current is not None and follower.current.version == "1"
    finally:
        holder.execute("COMMIT")
        holder.close()

    until(lambda: follower.seconds_unseen < 0.5 and follower.status()["problem"] == "")
