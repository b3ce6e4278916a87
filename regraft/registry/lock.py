"""One process at a time for what must not interleave: an operating-system lock on a file.

The system releases it when the holder ends for whatever reason, `kill -9` included, so there is
no stale lock to clean up. It excludes processes of one machine; across machines the registry
re-checks the champion just before it moves the alias (`regraft.registry.decision`).
"""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO
from urllib.parse import quote

from regraft.errors import UserError
from regraft.progress import note
from regraft.registry import store

_SECONDS_BETWEEN_TRIES = 0.05


@contextmanager
def locked(
    name: str, *, folder: Path | None = None, timeout_seconds: float = 3600.0
) -> Iterator[None]:
    """Hold the lock called `name`; wait while another process holds it.

    Raises `UserError` when it is still held after `timeout_seconds`.
    """
    folder = folder or store.store_folder(store.tracking_uri())
    path = store.writable_folder(folder / "locks") / f"{quote(name, safe='')}.lock"
    with path.open("a") as file:
        _acquire(file, name, path, timeout_seconds)
        yield  # closing the file releases the lock


def _acquire(file: IO[str], name: str, path: Path, timeout_seconds: float) -> None:
    deadline = time.monotonic() + timeout_seconds
    told = False
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            pass
        if time.monotonic() > deadline:
            raise UserError(
                f"another process has been using {name!r} in the registry for too long",
                where=str(path),
                got=f"waited {timeout_seconds:g} s",
                fix="end the other run or wait for it, then start again",
            )
        if not told and not name.startswith("."):
            note(f"waiting for another process that uses {name!r} in the registry")
            told = True
        time.sleep(_SECONDS_BETWEEN_TRIES)
