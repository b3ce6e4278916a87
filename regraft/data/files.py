"""Files as the data room sees them: what to ignore, which links to refuse, how to write."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from regraft.errors import UserError

_JUNK = {"thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "icon\r"}


def is_ignored(name: str) -> bool:
    """True for hidden files and for what operating systems leave behind in folders."""
    return name.startswith(".") or name.casefold() in _JUNK


def link_problem(link: Path, root: Path) -> tuple[str, str]:
    """(reason, detail) if a symbolic link must not be read, ('', '') if it may."""
    try:
        target = link.resolve()
    except (OSError, RuntimeError):
        return "unreadable", "a symbolic link that points at itself"
    if not target.is_relative_to(root):
        return "link_outside_root", "a symbolic link that leaves the data root; it was not read"
    if target.is_dir():
        return "link_to_folder", "a symbolic link to a folder; folders are not followed"
    if not target.is_file():
        return "unreadable", "a symbolic link to nothing"
    return "", ""


def atomic_write(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file beside `path`, then rename it into place."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    temporary = Path(name)
    try:
        write(temporary)
        temporary.chmod(0o644)  # mkstemp makes it 0600; other users' steps read it too
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_if_different(path: Path, content: bytes) -> bool:
    """Write where the file is missing or holds something else; returns whether it did."""
    if path.is_file() and path.read_bytes() == content:
        return False
    atomic_write(path, lambda temporary: temporary.write_bytes(content))
    return True


def write_arrays(path: Path, **arrays: Any) -> None:
    """Write an .npz file; readers see the old one or the whole new one."""
    import numpy as np

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:  # to a name, numpy would append .npz
            np.savez(file, **arrays)

    atomic_write(path, write)


@contextmanager
def claimed_folder(folder: Path, what: str, prepare: Callable[[], object]) -> Iterator[None]:
    """Hold an output folder, made if missing and put in order by `prepare`, for one `what` (run,
    bench) at a time. Raises UserError while another one holds it, or where it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / ".lock").open("w")
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        prepare()
    except BlockingIOError as error:
        raise UserError(
            f"another {what} is writing to this folder",
            where=str(folder),
            fix="wait for it, or choose another folder with --out",
        ) from error
    except OSError as error:
        raise UserError(
            "the output folder cannot be written",
            where=str(folder),
            got=error.strerror or str(error),
            fix="choose another one with --out",
        ) from error
    with lock:
        yield
