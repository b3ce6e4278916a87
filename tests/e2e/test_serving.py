"""A trained model behind HTTP: three ways to ask agree, and the server follows the alias."""

from __future__ import annotations

import json
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from regraft.bench.serving.servers import NAMES, started
from regraft.registry import champions, versions
from tests.e2e.support import Project

pytestmark = pytest.mark.e2e
JPEG = {"content-type": "image/jpeg"}


@pytest.fixture
def photos(project: Project) -> list[Path]:
    return sorted(project.photos.rglob("*.jpg"))[::14]


@pytest.fixture
def own_registry(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The registry of the finished runs, to be changed by this test alone."""
    home = Path(shutil.copytree(project.home, tmp_path / "home"))
    monkeypatch.setenv("REGRAFT_HOME", str(home))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(project, "home", home)
    return home


def test_every_way_to_ask_gives_the_same_answer(
    project: Project, own_registry: Path, photos: list[Path]
) -> None:
    told = project.call("predict", "tiny", *map(str, photos), "--json")
    expected = [answer["probabilities"] for answer in json.loads(told.output)]
    reference = versions.resolve("tiny")
    images = [photo.read_bytes() for photo in photos]

    with versions.model_folder(*reference) as folder:
        for name in NAMES:
            with started(name, reference, folder, images) as target:
                for body, probabilities in zip(target.bodies, expected, strict=True):
                    answer = httpx.post(
                        target.address + target.path,
                        content=body,
                        headers={"content-type": target.content_type},
                        timeout=60,
                    ).json()
                    found = answer["predictions"][0] if "predictions" in answer else answer
                    assert found["probabilities"] == pytest.approx(probabilities, abs=1e-4), name


def test_the_server_follows_promotion_and_rollback(
    project: Project, own_registry: Path, photos: list[Path]
) -> None:
    server = project.start("serve", "tiny", "--port", "0", "serving.poll_seconds=0.1")
    assert server.process.stdout is not None
    address = server.process.stdout.readline().split()[-1]
    first = versions.champion("tiny")
    (other,) = {"1", "2"} - {first}
    with httpx.Client(base_url=address, timeout=60) as client:
        before = ask_all(client, photos)
        assert {answer["version"] for answer in before} == {first}
        champions.promote("tiny", other, reason="test")
        wait_for(client, other)
        assert {answer["version"] for answer in ask_all(client, photos)} == {other}
        champions.rollback("tiny")
        wait_for(client, str(first))
        after = ask_all(client, photos)

    assert without_id(after) == without_id(before), "the old answers, bit for bit"
    server.process.send_signal(signal.SIGTERM)
    assert server.wait(60).code == 0


def ask_all(client: httpx.Client, photos: list[Path]) -> list[dict[str, Any]]:
    found = [client.post("/predict", content=p.read_bytes(), headers=JPEG) for p in photos]
    assert [response.status_code for response in found] == [200] * len(photos)
    return [response.json() for response in found]


def without_id(answers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in answer.items() if key != "id"} for answer in answers]


def wait_for(client: httpx.Client, version: str) -> None:
    deadline = time.monotonic() + 120
    while client.get("/model").json()["version"] != version:
        assert time.monotonic() < deadline, "the server does not follow"
        time.sleep(0.05)
