"""POST /feedback over real HTTP, into the real log."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from regraft.monitoring.feedback import add_labels
from regraft.monitoring.log_reading import read_log
from regraft.monitoring.prediction_log import PredictionLog

from .servers import running
from .support import picture
from .test_server import code_of

PNG = {"content-type": "image/png"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture
def client(folder: Path) -> Iterator[httpx.Client]:
    with running(add_labels=partial(add_labels, folder)) as server:
        server.service.log = PredictionLog(folder, max_bytes=10_000_000)
        with server.client() as found:
            yield found


def ask(client: httpx.Client, grey: int) -> str:
    return str(client.post("/predict", content=picture(grey), headers=PNG).json()["id"])


def test_labels_reach_the_log(client: httpx.Client, folder: Path) -> None:
    ids = [ask(client, grey) for grey in (0, 60, 250)]

    one = client.post("/feedback", json={"id": ids[0], "label": "light"})
    rest = [{"id": ids[1], "label": "dark"}, {"id": "nobody", "label": "dark"}]
    two = client.post("/feedback", json={"labels": rest})

    assert one.status_code == two.status_code == 200
    assert one.json() == {"added": 1, "unchanged": 0, "unknown": [], "new_classes": []}
    assert (two.json()["added"], two.json()["unknown"]) == (1, ["nobody"])
    truth = read_log(folder).rows.set_index("id")["truth"]
    assert [truth[ids[0]], truth[ids[1]]] == ["light", "dark"]
    assert truth[ids[2]] is None


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, "malformed"),
        (b"[]", 400, "malformed"),
        (b'{"labels": [3]}', 400, "malformed"),
        (b'{"label": "dark"}', 400, "bad_input"),
        (b'{"id": "nobody", "label": "dark"}', 404, "unknown_answer"),
    ],
)
def test_what_names_no_answer_is_refused(
    client: httpx.Client, body: bytes, status: int, code: str
) -> None:
    ask(client, 0)
    response = client.post("/feedback", content=body)

    assert (response.status_code, code_of(response)) == (status, code)


def test_a_full_disk_is_told() -> None:
    def full(rows: list[dict[str, Any]]) -> Any:
        raise OSError("No space left on device")

    with running(add_labels=full) as server, server.client() as client:
        response = client.post("/feedback", json={"id": "a", "label": "b"})
    with running() as server, server.client() as client:
        without = client.post("/feedback", json={"id": "a", "label": "b"})

    assert (response.status_code, code_of(response)) == (503, "log_unavailable")
    assert (without.status_code, code_of(without)) == (404, "no_log")
