"""The folder of a prediction log: its files, and the lock and counters that its writers share.

tail.log                      the latest records, appended line by line
tail-NUMBER.log               a tail that is being sealed
segment-FIRST-LAST-HASH.parquet   sealed records FIRST to LAST; HASH is of the file's content
feedback.log                  labels that came later
inputs/SHA256.jpg             kept inputs
counters, sealing             what the writers lock
*.corrupt                     what was found damaged and set aside
"""

from __future__ import annotations

import fcntl
import os
import struct
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from regraft.monitoring.record import parsed
from regraft.registry import store

TAIL, FEEDBACK, INPUTS = "tail.log", "feedback.log", "inputs"
COUNTERS, SEALING = "counters", "sealing"
CORRUPT = ".corrupt"
_LAYOUT = struct.Struct("<5QI")
_SECONDS_FOR_LOCK = 20.0
_SECONDS_BETWEEN_TRIES = 0.0005


class LogFull(OSError):
    """The records could not be written and are not in the log: the disk or the log is full, or
    the folder cannot be used. The same call works again once that has changed."""


def log_folder(name: str) -> Path:
    """Where the prediction log of the model `name` is kept on this machine."""
    return store.home() / "log" / name


@dataclass
class Counters:
    """What the writers of a folder share, in the file that they lock.

    used: bytes of all files. rows: records in the live tail. rotated_at: `used` when the live tail
    was begun.
    """

    next_sequence: int = 1
    next_label: int = 1
    used: int = 0
    rows: int = 0
    rotated_at: int = 0

    def packed(self) -> bytes:
        numbers = _LAYOUT.pack(*self.__dict__.values(), 0)[:-4]
        return numbers + zlib.crc32(numbers).to_bytes(4, "little")

    @classmethod
    def unpacked(cls, data: bytes) -> Counters | None:
        """None where that is not what `packed` made."""
        if len(data) != _LAYOUT.size or zlib.crc32(data[:-4]) != int.from_bytes(
            data[-4:], "little"
        ):
            return None
        return cls(*_LAYOUT.unpack(data)[:-1])


class Held:
    """The counters, for as long as the lock is held."""

    def __init__(self, file: int, folder: Path) -> None:
        self._file = file
        self.counters = Counters.unpacked(os.pread(file, 256, 0)) or recounted(folder)

    def save(self) -> None:
        """Must come before what is written relies on it: a number that a killed process took must
        not be given again."""
        os.pwrite(self._file, self.counters.packed(), 0)


class LogLock:
    """Excludes threads and processes (of one machine) from each other while they append."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._thread = threading.Lock()
        self._file = -1

    @contextmanager
    def held(self) -> Iterator[Held]:
        """Hold the lock. Raises `LogFull` when another process keeps it for too long."""
        with self._thread:
            self._lock()
            try:
                yield Held(self._file, self.folder)
            finally:
                fcntl.flock(self._file, fcntl.LOCK_UN)

    def close(self) -> None:
        """Give the file back."""
        with self._thread:
            if self._file >= 0:
                os.close(self._file)
                self._file = -1

    def _lock(self) -> None:
        path = self.folder / COUNTERS
        while True:
            if self._file < 0:
                self.folder.mkdir(parents=True, exist_ok=True)
                self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            acquire(self._file, path)
            if is_still(self._file, path):
                return
            os.close(self._file)  # somebody removed the folder; a lock on a removed file is none
            self._file = -1


def acquire(file: int, path: Path, *, seconds: float = _SECONDS_FOR_LOCK) -> None:
    """Lock an open file. Raises `LogFull` when that takes too long."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise LogFull(f"another process has held {path} for {seconds:g} s") from None
            time.sleep(_SECONDS_BETWEEN_TRIES)


def is_still(file: int, path: Path) -> bool:
    """Is the open file the one that lies at `path` now?"""
    try:
        there = path.stat()
    except FileNotFoundError:
        return False
    return os.path.samestat(there, os.fstat(file))


@contextmanager
def sealing(folder: Path, *, seconds: float = _SECONDS_FOR_LOCK) -> Iterator[None]:
    """One process at a time seals tails, removes segments and rewrites files."""
    path = folder / SEALING
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        acquire(file, path, seconds=seconds)
        yield
    finally:
        os.close(file)


def rotated_tails(folder: Path) -> list[Path]:
    """Tails that wait for being sealed, oldest first."""
    return sorted(folder.glob("tail-*.log"))


def segments(folder: Path) -> list[Path]:
    """Sealed segments, oldest first."""
    return sorted(folder.glob("segment-*.parquet"))


def last_sequence(path: Path) -> int:
    """The number of a segment's last record, from its name."""
    return int(path.name.split("-")[2])


def recounted(folder: Path) -> Counters:
    """The counters as the files themselves show them."""
    live = parsed(content_of(folder / TAIL)).values
    numbers = [number for number, _ in live]
    for path in rotated_tails(folder):
        numbers += [number for number, _ in parsed(content_of(path)).values]
    numbers += [last_sequence(path) for path in folder.glob("segment-*")]
    labels = [number for number, _ in parsed(content_of(folder / FEEDBACK)).values]
    used = bytes_of(folder)
    return Counters(max(numbers, default=0) + 1, max(labels, default=0) + 1, used, len(live), used)


def bytes_of(folder: Path) -> int:
    """Bytes of all files of the log."""
    total = 0
    for place in (folder, folder / INPUTS):
        try:
            with os.scandir(place) as entries:
                total += sum(_size(entry) for entry in entries)
        except FileNotFoundError:
            continue
    return total


def _size(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat().st_size if entry.is_file(follow_symlinks=False) else 0
    except FileNotFoundError:
        return 0


def content_of(path: Path) -> bytes:
    """The bytes of a file, none where there is none."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
