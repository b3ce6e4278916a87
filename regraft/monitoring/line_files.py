"""Appending framed lines to a file so that all of them are there, or none."""

from __future__ import annotations

import os
from pathlib import Path

from regraft.monitoring.log_folder import COUNTERS, LogFull, acquire
from regraft.monitoring.record import Lines, parsed


def append_bytes(file: int, data: bytes, *, fsync: bool) -> None:
    """Append `data`, whole lines, to a file opened for it; on an error the file is as before.

    The caller holds the lock of the folder. What a killed process left half-written is removed
    first: it was never acknowledged.
    """
    end = _mended(file)
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(file, rest) :]
        if fsync:
            os.fsync(file)
    except OSError:
        os.ftruncate(file, end)
        raise


def opened(path: Path) -> int:
    """A file descriptor for `append_bytes`."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)


def _mended(file: int) -> int:
    """Size of the file after its last line was completed or, if it is torn, cut off."""
    size = os.fstat(file).st_size
    if size == 0 or os.pread(file, 1, size - 1) == b"\n":
        return size
    content = os.pread(file, size, 0)
    end = content.rfind(b"\n") + 1
    if not parsed(content[end:] + b"\n").damaged:  # only its newline is missing
        os.write(file, b"\n")
        return size + 1
    os.ftruncate(file, end)
    return end


def read_lines(path: Path, folder: Path) -> Lines:
    """What a file of framed lines holds while others append to it.

    A writer that takes back what did not fit may change what is being read. So damage counts only
    if it is still there while nobody writes. Raises FileNotFoundError.
    """
    found = parsed(path.read_bytes())
    if not found.damaged:
        return found
    try:
        lock = os.open(folder / COUNTERS, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:  # a copy of a log, or one that we may only read: nobody to wait for
        return found
    try:
        acquire(lock, folder / COUNTERS)
        return parsed(path.read_bytes())
    except LogFull:
        return found
    finally:
        os.close(lock)
