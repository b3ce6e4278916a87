"""The challenger answers into the log, and nobody notices."""

from __future__ import annotations

import threading
from typing import Any

import httpx

from .servers import Running, World, running, until
from .support import BrightnessPredictor, picture

PNG = {"content-type": "image/png"}


def ask(client: httpx.Client, grey: int) -> dict[str, Any]:
    response = client.post("/predict", content=picture(grey), headers=PNG)
    assert response.status_code == 200, response.text
    return dict(response.json())


def shadows(server: Running) -> list[Any]:
    return [record for record in server.log.records if record.role == "shadow"]


def world_with(challenger: type[BrightnessPredictor]) -> World:
    kinds = {"1": BrightnessPredictor, "2": challenger}
    return World(
        aliases={"champion": "1", "challenger": "2"},
        model=lambda version: kinds[version].of(["dark", "light"]),
    )


class Contrary(BrightnessPredictor):
    def predict(self, inputs: list[Any]) -> list[dict[str, Any]]:
        found = super().predict(inputs)
        return [{**answer, "label": "contrary"} for answer in found]


def test_the_challenger_is_logged_and_never_returned() -> None:
    world = world_with(Contrary)
    with (
        running(world=world, shadow="challenger", shadow_share=1.0) as server,
        server.client() as client,
    ):
        answers = [ask(client, grey) for grey in (0, 40, 255)]
        until(lambda: len(shadows(server)) == 3)
        page = client.get("/metrics").text
        ready = client.get("/readyz").json()

    assert [answer["label"] for answer in answers] == ["dark", "dark", "light"]
    assert {answer["version"] for answer in answers} == {"1"}
    assert [r.id for r in shadows(server)] == [f"{answer['id']}-shadow" for answer in answers]
    assert {(record.version, record.label) for record in shadows(server)} == {("2", "contrary")}
    assert 'regraft_shadow_total{outcome="answered"} 3.0' in page
    assert ready["shadow"]["version"] == "2"


def test_its_share_is_its_share() -> None:
    world = world_with(Contrary)
    with running(world=world, shadow="challenger", shadow_share=0.5) as server:
        shadow = server.service.shadow
        assert shadow is not None
        hashes = [f"{n * 2654435761 % 2**32:08x}" for n in range(1000)]
        wanted = [value for value in hashes if shadow.wants(value)]

    assert 400 < len(wanted) < 600
    with (
        running(world=world, shadow="challenger", shadow_share=0.0) as server,
        server.client() as client,
    ):
        ask(client, 3)
    assert shadows(server) == []


class Stuck(BrightnessPredictor):
    release = threading.Event()
    begun = threading.Event()

    def answer(self, inputs: list[Any]) -> Any:
        self.begun.set()
        assert self.release.wait(30)
        raise RuntimeError("and then it fails")


def test_a_challenger_that_hangs_and_fails_disturbs_nobody() -> None:
    world = world_with(Stuck)
    with (
        running(world=world, shadow="challenger", shadow_share=1.0) as server,
        server.client() as client,
    ):
        first = ask(client, 0)
        assert Stuck.begun.wait(30)
        rest = [ask(client, grey) for grey in range(60)]
        left_out = client.get("/metrics").text
        Stuck.release.set()
        until(lambda: 'outcome="failed"' in client.get("/metrics").text)

    assert len({answer["id"] for answer in [first, *rest]}) == 61
    assert 'regraft_shadow_total{outcome="left_out"}' in left_out
    assert shadows(server) == []


def test_no_challenger_yet() -> None:
    world = world_with(Contrary)
    with running(world=world, shadow="next", shadow_share=1.0) as server, server.client() as client:
        assert ask(client, 0)["version"] == "1"
        assert client.get("/readyz").json()["shadow"]["version"] is None
        world.aliases["next"] = "2"
        until(lambda: server.service.challenger.current is not None)
        ask(client, 0)
        until(lambda: len(shadows(server)) == 1)
