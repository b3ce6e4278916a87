"""The three servers, each a process of its own with the same environment."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from regraft.bench.serving.clients import Target, mlflow_body
from regraft.errors import UserError
from regraft.registry import store
from regraft.registry.versions import Reference
from regraft.steps.hardware import PROCESS_ENVIRONMENT

NAMES = ("regraft serve", "plain handler", "mlflow models serve")
_SECONDS_TO_START = 180.0
_SECONDS_TO_STOP = 30.0


@contextmanager
def started(
    name: str, reference: Reference, folder: Path, images: Sequence[bytes]
) -> Iterator[Target]:
    """One of `NAMES`, answering; it is ended with the context.

    `regraft serve` gets a home of its own, so that its log holds nothing of the bench.
    """
    port = _free_port()
    address = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory(prefix="regraft-bench-") as home:
        environment = {
            **os.environ,
            **PROCESS_ENVIRONMENT,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
            "MLFLOW_TRACKING_URI": store.tracking_uri(),
            "REGRAFT_HOME": home,
            "REGRAFT_BENCH_MODEL": str(folder),
        }
        with (Path(home) / "server.log").open("w+") as log:
            process = subprocess.Popen(
                _command(name, reference, port),
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                target = _target(name, address, images, partial(_cpu_seconds, process.pid))
                _wait(process, target, Path(log.name))
                yield target
            finally:
                _end(process)


def _command(name: str, reference: Reference, port: int) -> list[str]:
    python, place = sys.executable, ["--host", "127.0.0.1", "--port", str(port)]
    version = f"{reference.name}/{reference.version}"
    if name == "regraft serve":
        return [python, "-m", "regraft.cli.main", "serve", version, *place]
    if name == "plain handler":
        app = "regraft.bench.serving.plain_handler:app"
        return [python, "-m", "uvicorn", app, *place, "--no-access-log", "--log-level", "error"]
    options = ["--model-uri", f"models:/{version}", "--env-manager", "local"]
    return [python, "-m", "mlflow", "models", "serve", *options, *place]


def _target(
    name: str, address: str, images: Sequence[bytes], cpu_seconds: Callable[[], float]
) -> Target:
    if name == "mlflow models serve":
        bodies = [mlflow_body(data) for data in images]
        return Target(name, address, "/invocations", "application/json", bodies, cpu_seconds)
    return Target(name, address, "/predict", "image/jpeg", images, cpu_seconds)


def _wait(process: subprocess.Popen[bytes], target: Target, log: Path) -> None:
    parts = urlsplit(target.address)
    deadline = time.monotonic() + _SECONDS_TO_START
    while time.monotonic() < deadline and process.poll() is None:
        connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=60)
        try:
            headers = {"Content-Type": target.content_type}
            connection.request("POST", target.path, target.bodies[0], headers)
            if connection.getresponse().status == 200:
                return
        except (OSError, http.client.HTTPException):
            pass
        finally:
            connection.close()
        time.sleep(0.2)
    raise UserError(
        f"the server did not answer: {target.name}",
        where=target.address,
        got=log.read_text(errors="replace")[-1000:] or "no output",
        expected=f"an answer within {_SECONDS_TO_START:g} s",
    )


def _cpu_seconds(session: int) -> float:
    """User and system time of every process of a session, children that ended included."""
    ticks = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it ended meanwhile
        if int(fields[3]) == session:
            ticks += sum(map(int, fields[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def _end(process: subprocess.Popen[bytes]) -> None:
    """The whole session: MLflow's server is a child of the command."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            return
        try:
            process.wait(_SECONDS_TO_STOP)
        except subprocess.TimeoutExpired:
            continue


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
