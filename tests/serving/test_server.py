"""The routes over real HTTP: every way to send an input, every refusal, the end."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from .servers import Memory, Running, World, running, until
from .support import BrightnessPredictor, picture

DARK = picture(51)
TEXT = base64.b64encode(DARK).decode()
PNG = {"content-type": "image/png"}


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with running() as found:
        yield found


@pytest.fixture
def client(server: Running) -> Iterator[httpx.Client]:
    with server.client() as found:
        yield found


def code_of(response: httpx.Response) -> str:
    problem = response.json()["error"]
    assert set(problem) == {"code", "message", "where", "got", "expected", "fix"}
    assert "Traceback" not in response.text
    return str(problem["code"])


def test_raw_bytes_get_one_answer(client: httpx.Client, server: Running) -> None:
    answer = client.post("/predict", content=DARK, headers=PNG).json()

    assert list(answer)[:3] == ["id", "model", "version"]
    assert (answer["model"], answer["version"], answer["label"]) == ("plants", "1", "dark")
    assert answer["confidence"] == pytest.approx(0.8)
    assert set(answer["probabilities"]) == {"dark", "light"}
    record = server.log.records[-1]
    assert (record.id, record.version, record.role) == (answer["id"], "1", "champion")
    assert record.statistics == {"width": 40.0} and len(record.embedding) == 2


@pytest.mark.parametrize(
    "body",
    [
        {"inputs": [TEXT, TEXT]},
        {"inputs": [f"data:image/png;base64,{TEXT}", TEXT]},
        {"inputs": {"image": [TEXT, TEXT]}},
        {"instances": [{"image": {"b64": TEXT}}, {"b64": TEXT}]},
        {"dataframe_records": [{"image": TEXT}, {"image": TEXT}]},
        {"dataframe_split": {"columns": ["image"], "data": [[TEXT], [TEXT]]}},
    ],
    ids=lambda body: next(iter(body)),
)
@pytest.mark.parametrize("path", ["/predict", "/invocations", "/v1/models/plants:predict"])
def test_json_of_every_kind(client: httpx.Client, path: str, body: dict[str, Any]) -> None:
    response = client.post(path, json=body)

    assert response.status_code == 200, response.text
    assert [answer["label"] for answer in response.json()["predictions"]] == ["dark", "dark"]


def test_files_of_a_form_keep_their_order(client: httpx.Client) -> None:
    files = [("file", (f"{n}.png", picture(grey))) for n, grey in enumerate([0, 255, 10])]

    found = client.post("/predict", files=files).json()["predictions"]

    assert [answer["label"] for answer in found] == ["dark", "light", "dark"]
    assert len({answer["id"] for answer in found}) == 3


def test_probes_model_and_metrics(client: httpx.Client) -> None:
    client.post("/predict", content=DARK, headers=PNG)

    assert client.get("/healthz").json() == {"status": "alive"}
    ready = client.get("/readyz").json()
    assert ready["ready"] and ready["registry"]["problem"] == ""
    model = client.get("/model").json()
    assert (model["name"], model["version"], model["alias"]) == ("plants", "1", "champion")
    assert (model["classes"], model["code_version"]) == (["dark", "light"], "c0de")
    page = client.get("/metrics").text
    assert 'regraft_model_info{name="plants",version="1"} 1.0' in page
    assert 'regraft_requests_total{route="/predict",status="200"}' in page
    assert "regraft_request_seconds_bucket" in page and "regraft_registry_unseen_seconds" in page


@pytest.mark.parametrize(
    ("body", "content_type", "status", "code"),
    [
        (b"", "image/png", 400, "malformed"),
        (b"no picture", "image/png", 400, "not_an_image"),
        (DARK[:60], "image/png", 400, "truncated"),
        (DARK, "", 415, "unsupported_content_type"),
        (b"{", "application/json", 400, "malformed"),
        (b"[" * 100_000, "application/json", 400, "malformed"),
        (b"[]", "application/json", 400, "malformed"),
        (b'{"inputs": []}', "application/json", 400, "malformed"),
        (b'{"inputs": [3]}', "application/json", 400, "malformed"),
        (b'{"inputs": ["/etc/passwd"]}', "application/json", 400, "bad_input"),
        (b'{"inputs": ["a"], "instances": ["a"]}', "application/json", 400, "malformed"),
        (b"--x", "multipart/form-data", 400, "malformed"),
        (b"--x\r\n", "multipart/form-data; boundary=y", 400, "malformed"),
        (b'--y\r\nContent-Disposition: form-data; name="a"\r\n\r\nb\r\n--y--\r\n',
         "multipart/form-data; boundary=y", 400, "malformed"),
    ],
)  # fmt: skip
def test_refusals_say_why(
    client: httpx.Client, body: bytes, content_type: str, status: int, code: str
) -> None:
    response = client.post("/predict", content=body, headers={"content-type": content_type})

    assert (response.status_code, code_of(response)) == (status, code)


def test_a_file_of_the_server_is_never_read(client: httpx.Client, tmp_path: Any) -> None:
    (tmp_path / "secret.png").write_bytes(DARK)

    response = client.post("/predict", json={"inputs": [str(tmp_path / "secret.png")]})

    assert (response.status_code, code_of(response)) == (400, "bad_input")


def test_the_bad_input_among_several_is_named(client: httpx.Client, server: Running) -> None:
    before = len(server.log.records)
    broken = base64.b64encode(b"no picture").decode()

    response = client.post("/predict", json={"inputs": [TEXT, broken]})

    assert (response.status_code, code_of(response)) == (400, "not_an_image")
    assert response.json()["error"]["where"] == "input 1"
    assert len(server.log.records) == before


def test_unknown_route_and_wrong_method(client: httpx.Client) -> None:
    assert code_of(client.get("/nothing")) == "unknown_route"
    assert code_of(client.get("/predict")) == "wrong_method"


def test_limits_of_bytes_inputs_and_pixels() -> None:
    limits = {"max_request_bytes": 4000, "max_inputs": 2, "max_image_pixels": 1599}
    with running(**limits) as server, server.client() as client:
        long = client.post("/predict", content=b"x" * 4001, headers=PNG)
        unannounced = client.post("/predict", content=iter([b"x" * 3000] * 2), headers=PNG)
        many = client.post("/predict", json={"inputs": ["a", "b", "c"]})
        files = client.post("/predict", files=[("f", ("n", b"x"))] * 3)
        large = client.post("/predict", content=DARK, headers=PNG)

    assert (long.status_code, code_of(long)) == (413, "too_large")
    assert (unannounced.status_code, code_of(unannounced)) == (413, "too_large")
    assert (many.status_code, code_of(many)) == (413, "too_many_inputs")
    assert (files.status_code, code_of(files)) == (413, "too_many_inputs")
    assert (large.status_code, code_of(large)) == (413, "too_many_pixels")
    assert not server.log.records


def test_token() -> None:
    token = b"a-long-enough-token"
    right = {**PNG, "authorization": f"Bearer {token.decode()}"}
    with running(tokens=(b"the-other-token-of-two", token)) as server, server.client() as client:
        for wrong in ("", "Bearer", "Bearer wrong", f"Basic {token.decode()}", "Bearer t\xf6ken"):
            headers = {**PNG, "authorization": wrong.encode("latin-1")}
            response = client.post("/predict", content=DARK, headers=headers)
            assert (response.status_code, code_of(response)) == (401, "unauthorized")
        for path in ("/model", "/metrics", "/openapi.json", "/nothing"):
            assert client.get(path).status_code == 401, path
        assert client.get("/healthz").status_code == client.get("/readyz").status_code == 200
        assert client.post("/predict", content=DARK, headers=right).status_code == 200
        assert client.get("/metrics", headers=right).status_code == 200


class Blocking(BrightnessPredictor):
    """Answers when it is told to."""

    go: threading.Event

    def answer(self, inputs: list[Any]) -> Any:
        assert self.go.wait(30)
        return super().answer(inputs)


def blocking() -> tuple[World, threading.Event]:
    predictor = Blocking.of(["dark", "light"])
    assert isinstance(predictor, Blocking)
    predictor.go = threading.Event()
    return World(model=lambda version: predictor), predictor.go


def test_a_full_queue_says_come_back() -> None:
    world, go = blocking()
    few = {"max_queue": 3, "max_inputs": 1, "max_batch": 1}
    with (
        running(world=world, **few) as server,
        server.client() as client,
        ThreadPoolExecutor(3) as pool,
    ):
        send = lambda _: client.post("/predict", content=DARK, headers=PNG)  # noqa: E731
        waiting = pool.map(send, range(3))
        until(lambda: server.service.batcher.waiting == 2)
        refused = send(0)
        go.set()
        answered = [response.status_code for response in waiting]

    assert (refused.status_code, code_of(refused)) == (503, "busy")
    assert int(refused.headers["retry-after"]) >= 1
    assert answered == [200, 200, 200]


def test_a_request_that_takes_too_long_is_told() -> None:
    world, go = blocking()
    with running(world=world, request_seconds=0.2) as server, server.client() as client:
        late = client.post("/predict", content=DARK, headers=PNG)
        go.set()
        then = client.post("/predict", content=DARK, headers=PNG)

    assert (late.status_code, code_of(late)) == (504, "timeout")
    assert then.status_code == 200


def test_what_cannot_be_logged_is_not_answered(server: Running, client: httpx.Client) -> None:
    server.log.full = True
    try:
        refused = client.post("/predict", content=DARK, headers=PNG)
        assert "No space" in client.get("/readyz").json()["log"]["problem"]
    finally:
        server.log.full = False
    again = client.post("/predict", content=DARK, headers=PNG)

    assert (refused.status_code, code_of(refused)) == (503, "log_unavailable")
    assert "label" not in refused.text
    assert again.status_code == 200
    assert client.get("/readyz").json()["log"]["problem"] == ""


class Failing(BrightnessPredictor):
    def answer(self, inputs: list[Any]) -> Any:
        raise RuntimeError("secret detail")


def test_a_fault_of_ours_shows_no_trace() -> None:
    world = World(model=lambda version: Failing.of(["dark", "light"]))
    with running(world=world) as server, server.client() as client:
        response = client.post("/predict", content=DARK, headers=PNG)
        alive = client.get("/healthz")

    assert (response.status_code, code_of(response)) == (500, "internal")
    assert "secret" not in response.text
    assert alive.status_code == 200


def test_stopping_finishes_what_is_in_flight_and_seals_the_log() -> None:
    world, go = blocking()
    with running(world=world) as server, server.client() as client, ThreadPoolExecutor(1) as pool:
        ready = client.get("/readyz")
        last = pool.submit(client.post, "/predict", content=DARK, headers=PNG)
        until(lambda: not server.service.batcher.idle)
        server.server.handle_exit(15, None)
        assert server.service.stopping
        go.set()
        answer = last.result(30)
        server.thread.join(30)
        server.service.stop()

    assert ready.status_code == 200
    assert answer.status_code == 200
    assert [record.id for record in server.log.records] == [answer.json()["id"]]
    assert isinstance(server.log, Memory) and server.log.closed


def test_a_lone_client_is_never_kept_waiting() -> None:
    """Each of 20 requests would wait for the window's second."""
    with running(batch_window_ms=1000) as server, server.client() as client:
        started = time.monotonic()
        for _ in range(20):
            assert client.post("/predict", content=DARK, headers=PNG).status_code == 200

    assert time.monotonic() - started < 10
