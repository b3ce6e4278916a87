"""Where a step keeps what only matters until it is done: checkpoints, caches."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from regraft.errors import UserError
from regraft.progress import note


def home() -> Path:
    """REGRAFT_HOME, or `.regraft` in the current folder."""
    return Path(os.environ.get("REGRAFT_HOME") or ".regraft")


@contextmanager
def work_dir(step: str, **inputs: Any) -> Iterator[Path]:
    """A folder that depends on the inputs only, so that a killed step finds its checkpoint again.

    It is removed when the step succeeds and kept when it fails. Two runs of the same inputs at
    once would write the same checkpoint, so the second one waits for the first.
    """
    import fcntl

    text = json.dumps(inputs, sort_keys=True, default=str)
    folder = home() / "work" / f"{step}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder.parent / f"{folder.name}.lock").open("w")
    except OSError as error:
        raise UserError(
            "the work folder cannot be written",
            where=str(folder.parent),
            got=error.strerror or str(error),
            fix="make it writable, or set REGRAFT_HOME to a folder that is",
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            note("another run is working on the same inputs; waiting for it to end")
            fcntl.flock(lock, fcntl.LOCK_EX)
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
        _remove(folder)


def _remove(folder: Path) -> None:
    """Under another name first, so that a kill half-way leaves nothing that looks like work."""
    done = folder.with_name(f"{folder.name}.done")
    shutil.rmtree(done, ignore_errors=True)
    folder.rename(done)
    shutil.rmtree(done, ignore_errors=True)


def digest(*paths: str | Path) -> str:
    """sha256 over the contents of files."""
    content = hashlib.sha256()
    for path in paths:
        content.update(Path(path).read_bytes())
    return content.hexdigest()[:16]
