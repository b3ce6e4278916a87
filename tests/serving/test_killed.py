"""`regraft serve` as a user starts it: killed, interrupted, and with its log on the disk."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from regraft.monitoring.log_folder import log_folder
from regraft.monitoring.log_reading import read_log

from .servers import until
from .support import picture

ROOT = Path(__file__).parents[2]
PNG = {"content-type": "image/png"}
COMMAND = """
import sys
import regraft.tasks
from tests.serving.support import BrightnessPredictor
regraft.tasks.load_model = BrightnessPredictor
from regraft.cli.main import main
main()
"""


class Process:
    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", COMMAND, "serve", "plants", "--port", "0", *arguments],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line.startswith("serving plants version 1 on http://127.0.0.1:"):
            raise AssertionError(f"{line}{self.process.communicate(timeout=30)}")
        self.address = line.split()[-1]

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.address, timeout=60)


@contextmanager
def serving(*arguments: str) -> Iterator[Process]:
    started = Process(*arguments)
    try:
        yield started
    finally:
        started.process.kill()
        started.process.communicate()


def ask(client: httpx.Client, grey: int = 51) -> dict[str, Any]:
    response = client.post("/predict", content=picture(grey), headers=PNG)
    assert response.status_code == 200, response.text
    return dict(response.json())


@pytest.mark.e2e
def test_killed_or_stopped_no_answer_that_was_given_is_missing_from_the_log(
    registered: dict[str, Any],
) -> None:
    given: list[str] = []

    def go_on(client: httpx.Client) -> None:
        try:
            while True:
                given.append(ask(client, len(given) % 256)["id"])
        except httpx.HTTPError:
            return

    with serving("serving.max_batch=4") as server:
        clients = [server.client() for _ in range(4)]
        threads = [threading.Thread(target=go_on, args=(client,)) for client in clients]
        for thread in threads:
            thread.start()
        until(lambda: len(given) > 100)
        server.process.kill()
        for thread in threads:
            thread.join(60)

    rows = read_log(log_folder("plants")).rows
    assert set(given) <= set(rows["id"])
    assert len(rows) - len(given) <= 4  # at most those whose answer was on its way

    with serving("--keep-inputs") as server, server.client() as client:
        last = ask(client, 7)
        assert last["id"] not in given
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(60) == 0
    rows = read_log(log_folder("plants")).rows
    assert {*given, last["id"]} <= set(rows["id"])
    kept = rows[rows["id"] == last["id"]].iloc[0]
    assert (log_folder("plants") / kept["input_path"]).read_bytes() == picture(7)


def test_a_taken_port_is_one_message(registered: dict[str, Any]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = subprocess.run(
            [sys.executable, "-c", COMMAND, "serve", "plants", "--port", port],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )

    assert done.returncode == 2
    assert "the server cannot listen there" in done.stderr and port in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["serving.max_btch=3"], "did you mean serving.max_batch"),
        (["serving.max_inputs=100"], "more than max_queue"),
        (["serving.max_batch=none"], "serving.max_batch"),
        (["data.root=x"], "data is unknown"),
    ],
)
def test_options_are_checked_before_anything_is_loaded(
    registered: dict[str, Any], arguments: list[str], message: str
) -> None:
    from regraft.errors import UserError
    from regraft.registry.versions import Reference
    from regraft.serving.start import options_of

    with pytest.raises(UserError, match=message):
        options_of(Reference("plants", "1"), arguments)
