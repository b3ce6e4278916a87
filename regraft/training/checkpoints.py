"""What survives a kill: written beside, then renamed; a damaged file is never read."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from regraft.data.files import atomic_write
from regraft.errors import UserError


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Replace the checkpoint in one step; the old one stays if anything goes wrong.

    Raises
    ------
    UserError
        The disk is full or not writable.
    """
    partial = path.with_suffix(".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except (OSError, RuntimeError) as error:
        partial.unlink(missing_ok=True)
        raise explained(error, path) from error


def load_checkpoint(path: Path) -> dict[str, Any] | None:
    """The checkpoint, or None if there is none yet."""
    if not path.exists():
        return None
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state


def kept_array(path: Path, compute: Callable[[], np.ndarray]) -> np.ndarray:
    """The array in this file, computed and written there unless it exists; mapped, not read."""

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:  # np.save adds a suffix to a path without one
            np.save(file, compute())

    if not path.is_file():
        atomic_write(path, write)
    return np.asarray(np.load(path, mmap_mode="c"))


def explained(error: BaseException, path: Path) -> BaseException:
    """A failed write in the user's words; any other error as it is.

    torch's zip writer hides the system's error behind a RuntimeError about positions in the file.
    """
    cause = error
    while not isinstance(cause, OSError) and cause.__context__ is not None:
        cause = cause.__context__
    if isinstance(cause, OSError) and cause.errno in {errno.ENOSPC, errno.EDQUOT}:
        return UserError(
            f"{path.name} could not be written, the disk is full",
            where=str(path.parent),
            got=cause.strerror or str(cause),
            fix="free space (or set REGRAFT_HOME to another disk) and run again: the run "
            "continues from the last complete checkpoint",
        )
    if isinstance(cause, PermissionError):
        return UserError(
            f"{path.name} could not be written",
            where=str(path.parent),
            got="no permission",
            fix="make the folder writable, or set REGRAFT_HOME to one that is",
        )
    return error
