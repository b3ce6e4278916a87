"""What clients and networks do to a server, over real sockets."""

from __future__ import annotations

import json
import random
import socket
import threading
import time
from collections.abc import Iterator

import httpx
import pytest

from regraft.serving.protocol import PatientProtocol

from .servers import Running, running, until
from .support import picture

DARK = picture(51)
PNG = {"content-type": "image/png"}
HEAD = b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Type: image/png\r\nContent-Length: %d\r\n\r\n"


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with running(max_request_bytes=100_000) as found:
        yield found


def connect(server: Running) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=30)


def all_of(connection: socket.socket) -> bytes:
    """Everything that the server sends until it closes."""
    found = b""
    try:
        while chunk := connection.recv(65536):
            found += chunk
    except ConnectionResetError:
        pass
    return found


def alive(server: Running) -> bool:
    with server.client() as client:
        answer = client.post("/predict", content=DARK, headers=PNG)
    return answer.status_code == 200 and answer.json()["label"] == "dark"


def test_a_thousand_random_bodies_are_refused_one_by_one(server: Running) -> None:
    dice = random.Random(7)
    kinds = ["image/png", "application/json", "multipart/form-data; boundary=b", "a/b", ""]
    starts = [
        b"",
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff",
        b"RIFF",
        b"II*\0",
        b"GIF89a",
        b'{"inputs":',
    ]
    statuses = set()
    with server.client() as client:
        for _ in range(1000):
            body = dice.choice(starts) + dice.randbytes(dice.randrange(400))
            response = client.post(
                "/predict", content=body, headers={"content-type": dice.choice(kinds)}
            )
            assert response.json()["error"]["message"]
            statuses.add(response.status_code)

    assert {400, 415} <= statuses <= {400, 413, 415}
    assert alive(server)


def test_a_thousand_random_streams_do_no_harm(server: Running) -> None:
    dice = random.Random(8)
    starts = [
        b"",
        b"GET ",
        b"POST /predict HTTP/1.1\r\n",
        HEAD % 10,
        b"\x16\x03\x01",
        b"PRI * HTTP/2",
    ]
    for _ in range(1000):
        with connect(server) as connection:
            connection.sendall(dice.choice(starts) + dice.randbytes(dice.randrange(300)))
            connection.shutdown(socket.SHUT_WR)
            answer = all_of(connection)
        assert not answer.startswith(b"HTTP/1.1 5"), answer

    assert alive(server)


def test_what_is_not_http_gets_a_structured_error(server: Running) -> None:
    with connect(server) as connection:
        connection.sendall(b"nonsense\r\n\r\n")
        answer = all_of(connection)

    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400")
    assert json.loads(body)["error"]["code"] == "malformed"


def test_a_client_that_closed_its_half_is_answered(server: Running) -> None:
    with connect(server) as connection:
        connection.sendall(HEAD % len(DARK) + DARK)
        connection.shutdown(socket.SHUT_WR)
        answer = all_of(connection)

    assert answer.startswith(b"HTTP/1.1 200") and b'"dark"' in answer


def test_a_client_that_left_in_the_middle_leaves_nothing(server: Running) -> None:
    before = len(server.log.records)
    for share in (0, 1, len(DARK) // 2):
        with connect(server) as connection:
            connection.sendall(HEAD % len(DARK) + DARK[:share])
            connection.shutdown(socket.SHUT_WR)
            assert not all_of(connection).startswith(b"HTTP/1.1 5")

    until(lambda: server.service.at_work == 0)
    assert server.service.bytes_held == 0
    assert len(server.log.records) == before
    with server.client() as client:
        assert "regraft_disconnects_total 0.0" not in client.get("/metrics").text
    assert alive(server)


def test_slow_bodies_are_cut_off_and_hold_nobody_up() -> None:
    with running(receive_seconds=0.5) as server:
        slow = [connect(server) for _ in range(20)]
        for connection in slow:
            connection.sendall(HEAD % len(DARK) + DARK[:5])
        assert alive(server)
        answers = [all_of(connection) for connection in slow]
        until(lambda: server.service.at_work == 0)

    assert all(answer.startswith(b"HTTP/1.1 408") for answer in answers)
    assert server.service.bytes_held == 0


def test_slow_heads_are_cut_off(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PatientProtocol, "head_seconds", 0.3)
    silent, dripping = connect(server), connect(server)
    dripping.sendall(b"POST /predict HTT")
    with server.client() as client:
        client.get("/healthz")  # a kept connection is no slow head

        assert all_of(silent) == all_of(dripping) == b""
        assert client.get("/healthz").status_code == 200


def test_a_long_body_is_refused_before_it_was_read(server: Running) -> None:
    with connect(server) as connection:
        connection.sendall(
            (HEAD % 10**12).replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n")
        )
        answer = all_of(connection)

    assert answer.startswith(b"HTTP/1.1 413")
    assert alive(server)


def test_an_endless_body_is_cut_off(server: Running) -> None:
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    with connect(server) as connection:
        connection.sendall(HEAD.replace(b"Content-Length: %d", b"Transfer-Encoding: chunked"))
        sent = 0
        with pytest.raises(OSError):
            while sent < 2**30:
                sent += connection.send(chunk)

    assert sent < 2**30
    assert server.service.bytes_held == 0
    assert alive(server)


def test_many_clients_at_once_get_their_own_answers(server: Running) -> None:
    greys = [0, 255] * 4
    wrong: list[object] = []

    def ask(grey: int) -> None:
        label = "light" if grey else "dark"
        with server.client() as client:
            for _ in range(20):
                answer = client.post("/predict", content=picture(grey), headers=PNG)
                if answer.status_code != 200 or answer.json()["label"] != label:
                    wrong.append(answer.text)

    threads = [threading.Thread(target=ask, args=(grey,)) for grey in greys]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert wrong == []


def test_stopping_does_not_wait_for_slow_clients_for_ever() -> None:
    with running(receive_seconds=30, drain_seconds=1) as server:
        connection = connect(server)
        connection.sendall(HEAD % len(DARK) + DARK[:5])
        until(lambda: server.service.at_work == 1)
        started = time.monotonic()
        server.server.handle_exit(15, None)
        server.thread.join(25)
        assert not server.thread.is_alive()
        assert time.monotonic() - started < 25
        with pytest.raises(httpx.ConnectError), server.client() as client:
            client.get("/readyz")
