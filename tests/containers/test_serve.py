"""The server's image, as restricted as it runs anywhere."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.containers.conftest import NAME, Run, docker, inspected
from tests.e2e.support import ROOT

pytestmark = [pytest.mark.containers, pytest.mark.timeout(1800)]
USER = 10001
TOKEN = "a-token-for-this-test-alone"
ASK = """
import sys, urllib.error, urllib.request
headers = {"Content-Type": "image/jpeg", "Authorization": "Bearer " + sys.argv[1]}
photo = sys.stdin.buffer.read()
request = urllib.request.Request("http://127.0.0.1:8000/predict", photo, headers)
try:
    print(urllib.request.urlopen(request, timeout=60).read().decode())
except urllib.error.HTTPError as error:
    print(error.code)
"""


@pytest.fixture(scope="module")
def photo() -> Path:
    return min((ROOT / "data" / "leaves" / "lab").rglob("*.jpg"))


@pytest.fixture(scope="module")
def server(
    in_containers: Run, images: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """Name of a container that serves the champion from a copy of the registry, which belongs to
    the image's user. It has no network but its own loopback, where the tests ask it."""
    home = in_containers.project.home
    copy = Path(shutil.copytree(home, tmp_path_factory.mktemp("served") / "home"))
    for path in (copy, *copy.rglob("*")):
        if os.getuid() == 0:
            os.chown(path, USER, USER, follow_symlinks=False)
        else:
            path.chmod(0o777)
    name = docker(
        "run", "--detach", "--network", "none", "--read-only", "--tmpfs", "/tmp",
        "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--health-interval", "2s",
        "--volume", f"{copy}:{home}", "--env", f"REGRAFT_HOME={home}", "--env", f"TOKEN={TOKEN}",
        images["serve"], "serve", NAME, "--host", "0.0.0.0", "--token-env", "TOKEN",
    )  # fmt: skip
    try:
        yield name
    finally:
        docker("rm", "--force", name)


@pytest.fixture(scope="module")
def healthy(server: str) -> str:
    """The server, once its health check says so."""
    for _ in range(600):
        state = inspected("container", server)["State"]
        assert state["Running"], docker("logs", server)
        if state["Health"]["Status"] == "healthy":
            return server
        time.sleep(0.5)
    pytest.fail(f"it never became healthy: {state['Health']}\n{docker('logs', server)}")


def answer(server: str, photo: Path, token: str) -> str:
    command = ["docker", "exec", "--interactive", server, "python", "-c", ASK, token]
    with photo.open("rb") as body:
        done = subprocess.run(command, stdin=body, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_it_answers_as_the_command_line_does(healthy: str, in_containers: Run, photo: Path) -> None:
    found = json.loads(answer(healthy, photo, TOKEN))
    told = in_containers.project.call("predict", NAME, str(photo), "--json")
    assert told.code == 0, told.text
    (expected,) = json.loads(told.output)
    assert found["label"] == expected["label"]
    assert found["probabilities"] == pytest.approx(expected["probabilities"], abs=1e-4)


def test_it_asks_for_the_token(healthy: str, photo: Path) -> None:
    assert answer(healthy, photo, "another-token-than-the-right-one") == "401"


def test_it_is_restricted(healthy: str) -> None:
    assert docker("exec", healthy, "id", "-u") == str(USER)
    assert inspected("container", healthy)["HostConfig"]["ReadonlyRootfs"]
    script = "touch /home/regraft/state/x 2>&1; cat /proc/1/status"
    told = docker("exec", healthy, "sh", "-c", script)
    assert "Read-only file system" in told
    assert "CapEff:\t0000000000000000" in told


def test_it_stops_in_order(healthy: str, photo: Path) -> None:
    """Last, because it ends the server."""
    docker("stop", "--time", "60", healthy)
    assert inspected("container", healthy)["State"]["ExitCode"] == 0
