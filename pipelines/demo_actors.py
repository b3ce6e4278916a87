"""Who acts in the demonstration: a person at the command line, a server, clients that ask it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_SECONDS_TO_START = 300.0
_SECONDS_TO_FOLLOW = 120.0


class Person:
    """Somebody who types `regraft ...` in one project folder with a home of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.home = folder, folder / "home"
        self.environment = {**os.environ, "REGRAFT_HOME": str(self.home)}
        for name in ("MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID"):
            self.environment.pop(name, None)

    def types(self, *arguments: str) -> str:
        """What the command prints; RuntimeError with its words where it fails."""
        command = [sys.executable, "-m", "regraft.cli.main", *arguments]
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"regraft {' '.join(arguments)}\n{done.stderr[-3000:]}")
        return done.stdout

    def asks(self, *arguments: str) -> Any:
        """The same with --json."""
        return json.loads(self.types(*arguments, "--json"))


class Server:
    """`regraft serve` in a process of its own, asked over HTTP."""

    def __init__(self, person: Person, name: str) -> None:
        command = [sys.executable, "-m", "regraft.cli.main", "serve", name, "--port", "0"]
        self._log = (person.folder / "server.txt").open("w")
        self.process = subprocess.Popen(
            command, cwd=person.folder, env=person.environment, stdout=subprocess.PIPE,
            stderr=self._log, text=True,
        )  # fmt: skip
        self.address = self._address()

    def _address(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if " on http" not in line:
            self.process.kill()
            raise RuntimeError(
                f"the server did not start: {line}{Path(self._log.name).read_text()}"
            )
        return line.strip().rpartition(" ")[2]

    def answers(self, photo: Path) -> dict[str, Any]:
        """Its answer to one photo."""
        headers = {"Content-Type": "image/jpeg"}
        return _json(f"{self.address}/predict", photo.read_bytes(), headers)

    def version(self) -> str:
        """The model version that answers now."""
        return str(_json(f"{self.address}/model")["version"])

    def follows(self, version: str) -> float:
        """Wait until this version answers; the seconds that took."""
        started = time.monotonic()
        _until(lambda: self.version() == version, f"version {version} never answered")
        return time.monotonic() - started

    def stop(self) -> None:
        """In order, as SIGTERM asks for."""
        self.process.terminate()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._log.close()


@contextmanager
def serving(person: Person, name: str) -> Iterator[Server]:
    """A server for as long as the block lasts."""
    server = Server(person, name)
    try:
        yield server
    finally:
        server.stop()


def accuracy(answers: Sequence[dict[str, Any]], photos: Sequence[Path]) -> float:
    """Share of photos whose answer is the name of their folder."""
    right = [answer["label"] == photo.parent.name
             for answer, photo in zip(answers, photos, strict=True)]  # fmt: skip
    return sum(right) / len(right)


def _until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + _SECONDS_TO_FOLLOW
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(what)
        time.sleep(0.1)


def _json(address: str, data: bytes | None = None, headers: dict[str, str] | None = None) -> Any:
    request = urllib.request.Request(address, data=data, headers=headers or {})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.loads(answer.read())
