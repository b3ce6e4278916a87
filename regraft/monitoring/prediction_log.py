"""The prediction log: every answer of a model, kept before the client gets it.

An append is one write to the end of one file. It is in the hands of the system when it returns, so
a process that is killed loses nothing; with `fsync` it is on the disk, and a machine that loses
power loses nothing either (without, the last seconds). Behind the writers' backs full tails become
parquet segments, and the oldest segments make room for new ones. Several processes of one machine
may write to one folder: a lock gives every record its number, and readers see them in that order.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from regraft.monitoring import kept_inputs
from regraft.monitoring.line_files import append_bytes, opened
from regraft.monitoring.log_folder import TAIL, Held, LogFull, LogLock, is_still, recounted
from regraft.monitoring.log_sealing import make_room, rotate, seal
from regraft.monitoring.record import body_of, framed
from regraft.progress import note

__all__ = ["LogFull", "PredictionLog"]

_SECONDS_BETWEEN_SYNCS = 5.0
_LINE_OVERHEAD = 32  # checksum, number, blanks, newline


class PredictionLog:
    """Appends records to the log in `folder`; may be used by several threads.

    A tail is sealed when it holds `segment_rows` records, an eighth of `max_bytes`, or anything for
    `segment_seconds`. All files of the folder together never take more than `max_bytes`.
    `keep_inputs`: whether `append` keeps the inputs it is given. `fsync`: whether it waits until
    the record is on the disk.

    Raises `LogFull` when the folder cannot be written.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        max_bytes: int,
        keep_inputs: bool = False,
        fsync: bool = False,
        segment_rows: int = 500,
        segment_seconds: float = 600.0,
    ) -> None:
        if max_bytes < 1_000_000:
            raise ValueError(f"a log of {max_bytes:,} bytes holds nothing; at least 1,000,000")
        self.folder = Path(folder).resolve()
        self._max_bytes, self._keep_inputs, self._fsync = max_bytes, keep_inputs, fsync
        self._segment_rows, self._segment_seconds = segment_rows, segment_seconds
        self._told: set[str] = set()
        self._open()

    def append(self, records: Sequence[Any], inputs: Sequence[bytes] | None = None) -> None:
        """Write `Record`s in this order; when this returns they survive `kill -9`.

        `inputs` are the bytes that each was the answer to; with `keep_inputs` they are kept, and
        the records name them. One larger than an eighth of the bound is not, and a note says so.

        Raises `LogFull` (an `OSError`): none of the records is in the log.
        """
        if os.getpid() != self._pid:
            self._open()  # a fork: threads and locks are the parent's
        if self._closed.is_set():
            raise ValueError("the prediction log is closed")
        if not records:
            return
        kept = self._names(records, inputs)
        bodies = [body_of(r, input_path=kept[k][0]) for k, r in enumerate(records)]
        needed = sum(len(body) + _LINE_OVERHEAD for body in bodies)
        needed += sum(len(content) for _, content in kept)
        try:
            for _ in range(3):
                with self._lock.held() as held:
                    if held.counters.used + needed <= self._max_bytes * 7 // 8:
                        return self._write(held, bodies, kept)
                self._make_room(needed)
        except LogFull:
            raise
        except OSError as error:
            raise LogFull(error.errno, error.strerror, str(self.folder)) from error
        raise LogFull(f"{needed:,} bytes do not fit into a log of {self._max_bytes:,} bytes")

    def seal(self) -> None:
        """Make a segment of what is in the tail now."""
        with self._lock.held() as held:
            rotate(self.folder, held)
        self._seal()

    def _seal(self) -> None:
        seal(self._lock, rows=self._segment_rows, limit_bytes=self._max_bytes // 8)

    def close(self) -> None:
        """Seal the tail. Another `append` is an error."""
        if self._closed.is_set():
            return
        self._closed.set()
        self._work.set()
        self._thread.join()
        try:
            self.seal()
        except OSError as error:  # the records are safe in the tail
            note(f"the prediction log in {self.folder} was not sealed: {error}")
        self._close_tail()
        self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self) -> None:
        self._pid = os.getpid()
        self._lock = LogLock(self.folder)
        self._tail = -1
        self._synced = self._tail_since = time.monotonic()
        self._work, self._closed = threading.Event(), threading.Event()
        try:
            with self._lock.held() as held:
                found = recounted(self.folder)
                last = held.counters
                found.next_sequence = max(found.next_sequence, last.next_sequence)
                found.next_label = max(found.next_label, last.next_label)
                found.rotated_at = min(last.rotated_at, found.used)
                held.counters = found
                held.save()
        except LogFull:
            raise
        except OSError as error:
            raise LogFull(error.errno, error.strerror, str(self.folder)) from error
        self._thread = threading.Thread(target=self._behind, name="regraft-log", daemon=True)
        self._thread.start()

    def _names(
        self, records: Sequence[Any], inputs: Sequence[bytes] | None
    ) -> list[tuple[str, bytes]]:
        """For each record the input_path it gets, and the bytes to be kept there (or none)."""
        if inputs is None or not self._keep_inputs:
            return [(record.input_path, b"") for record in records]
        found, left = [], self._max_bytes // 8
        for record, content in zip(records, inputs, strict=True):
            if len(content) > left:
                self._tell("an input is too large for the bound of the log, and is not kept")
                found.append((record.input_path, b""))
                continue
            left -= len(content)
            found.append((kept_inputs.file_name(record.input_hash, content), content))
        return found

    def _write(self, held: Held, bodies: list[bytes], kept: list[tuple[str, bytes]]) -> None:
        counters, made = held.counters, []
        first = counters.next_sequence
        counters.next_sequence += len(bodies)
        data = b"".join(framed(first + place, body) for place, body in enumerate(bodies))
        held.save()
        try:
            for name, content in kept:
                path = self.folder / name
                if content and kept_inputs.write(path, content, fsync=self._fsync):
                    made.append(path)
                    counters.used += len(content)
            append_bytes(self._opened_tail(), data, fsync=self._fsync)
        except OSError:
            for path in made:
                path.unlink(missing_ok=True)
            raise
        if counters.rows == 0:
            self._tail_since = time.monotonic()
        counters.used += len(data)
        counters.rows += len(bodies)
        held.save()
        full = counters.used - counters.rotated_at >= self._max_bytes // 8
        if full or counters.rows >= self._segment_rows:
            rotate(self.folder, held)
            self._work.set()

    def _opened_tail(self) -> int:
        path = self.folder / TAIL
        if self._tail < 0 or not is_still(self._tail, path):
            self._close_tail()
            self._tail = opened(path)
        return self._tail

    def _close_tail(self) -> None:
        if self._tail >= 0:
            os.close(self._tail)
            self._tail = -1

    def _make_room(self, needed: int) -> None:
        self.seal()
        goal = min(self._max_bytes * 3 // 4, self._max_bytes * 7 // 8 - needed)
        make_room(self._lock, goal_bytes=goal)

    def _behind(self) -> None:
        """What the thread in the background does until the log is closed."""
        while not self._closed.is_set():
            self._work.wait(min(_SECONDS_BETWEEN_SYNCS, self._segment_seconds / 4))
            self._work.clear()
            if self._closed.is_set():
                return
            try:
                self._tidy()
                self._told.discard("sealing")
            except OSError as error:  # the records are safe in their tails: try again later
                self._tell(f"the prediction log could not be sealed: {error}", about="sealing")

    def _tidy(self) -> None:
        with self._lock.held() as held:
            old = time.monotonic() - self._tail_since > self._segment_seconds
            if held.counters.rows and old:
                rotate(self.folder, held)
                self._tail_since = time.monotonic()
            elif self._tail >= 0 and not self._fsync:
                os.fdatasync(self._tail)
            used = held.counters.used
        self._seal()
        if used > self._max_bytes * 13 // 16:
            make_room(self._lock, goal_bytes=self._max_bytes * 3 // 4)

    def _tell(self, text: str, *, about: str = "") -> None:
        """Once, not with every record."""
        if (about or text) not in self._told:
            self._told.add(about or text)
            note(text)
