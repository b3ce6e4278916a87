"""The services of infra/ as processes of this machine: PostgreSQL, an object store, MLflow.

PostgreSQL is Debian's (`.ci/postgres` installs it), the object store is nanio, which speaks S3 and
checks signatures. Users, passwords, flags and settings are those of infra/compose.yaml.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
INFRA = ROOT / "infra"
SERVICES = yaml.safe_load((INFRA / "compose.yaml").read_text(encoding="utf-8"))["services"]
DATABASE_PASSWORD, STORE_PASSWORD, ADMIN_PASSWORD = "d4tabase", "st0restore", "adm1nistrator"
_NOBODY = 65534
_WRONG = re.compile(r"FATAL|ERROR|PANIC|Error|Traceback|died|\b50[0-9] |\b401 ")


def need_postgres() -> Path:
    """The folder of PostgreSQL's programs. Where there is none the test is skipped; where the
    services are required (CI sets REGRAFT_NEED_SERVICES) it fails."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    on_path = shutil.which("postgres")
    if found or on_path:
        return found[-1].parent if found else Path(str(on_path)).parent
    why = "PostgreSQL is not installed: .ci/postgres installs Debian's"
    if os.environ.get("REGRAFT_NEED_SERVICES"):
        pytest.fail(why)
    pytest.skip(why)


class Service:
    """A process that is started again at the same port, and killed with all its children."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = _free_port()
        self.process: subprocess.Popen[bytes] | None = None

    def begin(self) -> None:
        """The first start, on an empty folder."""
        self.start()

    def command(self) -> list[str]:
        raise NotImplementedError

    def environment(self) -> Mapping[str, str]:
        return {}

    def is_ready(self) -> bool:
        raise NotImplementedError

    def start(self) -> None:
        with (self.folder / "log.txt").open("ab") as log:
            self.process = subprocess.Popen(
                self.command(),
                env={**os.environ, **self.environment()},
                cwd=self.folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **self._unprivileged(),
            )
        wait_for(lambda: self._lives() and self.is_ready(), type(self).__name__)

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """End the whole session of the service; with SIGKILL as a crash would."""
        if self.process is not None:
            os.killpg(self.process.pid, number)
            self.process.wait()
            self.process = None

    def end(self) -> None:
        self.kill()

    def _lives(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.folder / "log.txt").read_text()[-3000:]
        return True

    def _unprivileged(self) -> dict[str, Any]:
        return {}


class Postgres(Service):
    """A cluster of its own in a folder, with the database `mlflow`."""

    def __init__(self, folder: Path) -> None:
        self.programs = need_postgres()
        super().__init__(folder)

    def begin(self) -> None:
        folder = self.folder
        if os.geteuid() == 0:  # which PostgreSQL refuses
            os.chown(folder, _NOBODY, _NOBODY)
            _let_through(folder)
        password = folder / "password"
        password.write_text(DATABASE_PASSWORD)
        password.chmod(0o644)
        self.run("initdb", "--username=mlflow", f"--pwfile={password}", "--auth=scram-sha-256",
                 "--data-checksums", "--no-sync", f"--pgdata={folder / 'data'}")  # fmt: skip
        self.start()
        self.run("createdb", "mlflow")

    def command(self) -> list[str]:
        return [str(self.programs / "postgres"), "-D", str(self.folder / "data"), "-p",
                str(self.port), "-h", "127.0.0.1", "-k", str(self.folder),
                *SERVICES["postgres"]["command"]]  # fmt: skip

    def client(self) -> dict[str, str]:
        """What a client is told by infra/: host, database, user and password."""
        return {"PGHOST": "127.0.0.1", "PGPORT": str(self.port), "PGUSER": "mlflow",
                "PGPASSWORD": DATABASE_PASSWORD, "PGDATABASE": "mlflow"}  # fmt: skip

    def run(self, program: str, *arguments: str) -> str:
        done = subprocess.run(
            [str(self.programs / program), *arguments], env={**os.environ, **self.client()},
            cwd=self.folder, capture_output=True, text=True, check=False, **self._unprivileged(),
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    def rows(self, query: str) -> list[str]:
        """The rows of an answer, fields separated by |."""
        return self.run("psql", "--no-align", "--tuples-only", f"--command={query}").splitlines()

    def is_ready(self) -> bool:
        return _done(str(self.programs / "pg_isready"), "-h", "127.0.0.1", "-p", str(self.port))

    def end(self) -> None:
        self.kill(signal.SIGINT)  # a crash would leave its shared memory behind

    def _unprivileged(self) -> dict[str, Any]:
        return {"user": _NOBODY, "group": _NOBODY} if os.geteuid() == 0 else {}


class ObjectStore(Service):
    """An S3 server over a folder; what it was given survives its end."""

    def begin(self) -> None:
        self.start()
        for bucket in ("mlflow", "regraft-backups"):
            self.client().create_bucket(Bucket=bucket)

    def command(self) -> list[str]:
        return [str(Path(sys.executable).with_name("nanio")), "serve", "--host", "127.0.0.1",
                "--port", str(self.port), "--data-dir", str(self.folder / "buckets")]  # fmt: skip

    def environment(self) -> Mapping[str, str]:
        return {"NANIO_ACCESS_KEY": "mlflow", "NANIO_SECRET_KEY": STORE_PASSWORD}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def credentials(self) -> dict[str, str]:
        return {"AWS_ACCESS_KEY_ID": "mlflow", "AWS_SECRET_ACCESS_KEY": STORE_PASSWORD,
                "AWS_DEFAULT_REGION": "us-east-1", "MLFLOW_S3_ENDPOINT_URL": self.url}  # fmt: skip

    def client(self, secret: str = STORE_PASSWORD) -> Any:
        import boto3

        return boto3.client(
            "s3", endpoint_url=self.url, aws_access_key_id="mlflow",
            aws_secret_access_key=secret, region_name="us-east-1",
        )  # fmt: skip

    def keys(self, bucket: str) -> list[str]:
        pages = self.client().get_paginator("list_objects_v2").paginate(Bucket=bucket)
        return [entry["Key"] for page in pages for entry in page.get("Contents", [])]

    def is_ready(self) -> bool:
        return _listens(self.port)


class Tracking(Service):
    """The MLflow server of infra/compose.yaml: its command, its login, its settings."""

    def __init__(self, folder: Path, database: Postgres, store: ObjectStore) -> None:
        super().__init__(folder)
        self.database, self.store = database, store
        content = (INFRA / "base" / "basic_auth.ini").read_text(encoding="utf-8")
        (folder / "basic_auth.ini").write_text(self._here(content), encoding="utf-8")

    def _here(self, text: str) -> str:
        return text.replace("//postgres:5432/", f"//127.0.0.1:{self.database.port}/")

    def command(self) -> list[str]:
        given = {"--host=0.0.0.0": "--host=127.0.0.1", "--port=5000": f"--port={self.port}"}
        arguments = SERVICES["mlflow"]["command"]
        assert given.keys() <= set(arguments) and arguments[0] == "mlflow"
        return [str(Path(sys.executable).with_name("mlflow")),
                *(given.get(one, one) for one in arguments[1:])]  # fmt: skip

    def environment(self) -> Mapping[str, str]:
        return {
            **self.store.credentials(),
            **{
                name: value
                for name, value in SERVICES["mlflow"]["environment"].items()
                if name in {"MLFLOW_DISABLE_TELEMETRY", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION"}
            },
            "MLFLOW_BACKEND_STORE_URI": self._here("postgresql+psycopg2://postgres:5432/mlflow"),
            "PGUSER": "mlflow",
            "PGPASSWORD": DATABASE_PASSWORD,
            "MLFLOW_AUTH_CONFIG_PATH": str(self.folder / "basic_auth.ini"),
            "MLFLOW_AUTH_ADMIN_USERNAME": "admin",
            "MLFLOW_AUTH_ADMIN_PASSWORD": ADMIN_PASSWORD,
            "MLFLOW_FLASK_SERVER_SECRET_KEY": "session",
            "MLFLOW_SERVER_ALLOWED_HOSTS": f"127.0.0.1:{self.port}",
        }

    def client(self) -> dict[str, str]:
        """The environment of whoever uses this server. No key of the object store is in it."""
        return {"MLFLOW_TRACKING_URI": f"http://127.0.0.1:{self.port}",
                "MLFLOW_TRACKING_USERNAME": "admin",
                "MLFLOW_TRACKING_PASSWORD": ADMIN_PASSWORD}  # fmt: skip

    def is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=5):
                return True
        except OSError:
            return False


class Services:
    """All three, in the order in which they need each other."""

    def __init__(self, folder: Path) -> None:
        self.database = Postgres(_new(folder / "postgres"))
        self.store = ObjectStore(_new(folder / "store"))
        self.tracking = Tracking(_new(folder / "mlflow"), self.database, self.store)
        try:
            for service in self._all():
                service.begin()
        except BaseException:
            self.stop()
            raise

    def _all(self) -> list[Service]:
        return [self.database, self.store, self.tracking]

    def complaints(self) -> str:
        """The last lines of the logs that say that something is wrong, for a test that fails."""
        found = []
        for service in self._all():
            lines = (service.folder / "log.txt").read_text(errors="replace").splitlines()
            wrong = [line for line in lines if _WRONG.search(line)]
            found += [f"{type(service).__name__}: {line}" for line in wrong[-15:]]
        return "\n".join(found)

    def stop(self) -> None:
        for service in reversed(self._all()):
            service.end()


def wait_for(condition: Callable[[], bool], what: str, seconds: float = 180) -> None:
    """Return as soon as the condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what}: nothing after {seconds:g} s"
        time.sleep(0.1)


def _new(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _let_through(folder: Path) -> None:
    """Let another user reach the folder: temporary folders are closed to others."""
    for parent in folder.parents:
        if parent == Path(parent.root) or parent.stat().st_mode & 0o001:
            continue
        parent.chmod(parent.stat().st_mode | 0o011)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _listens(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def _done(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
