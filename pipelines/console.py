"""What a person sees of a local run: one line per step, a bar with the remaining time, notes.

The runner prints everything that the steps print. All of it goes into the log file; the lines that
`regraft.progress` marked become a bar (on a terminal) or an occasional line (elsewhere).
"""

from __future__ import annotations

import io
import json
import re
import sys
import time
from pathlib import Path
from typing import Any

from regraft.progress import MARKER

STARTED = re.compile(r"Executing task .*?'([a-z0-9-]+)'")
_CACHED = re.compile(r"Task '?([a-z0-9-]+)'? cache hit")
_SECONDS_BETWEEN_LINES = 15


class Console(io.TextIOBase):
    """A text stream that logs what is written to it and shows the essence on stderr."""

    def __init__(self, log: Path, n_steps: int) -> None:
        super().__init__()
        self._log = log.open("a", encoding="utf-8")
        self._n_steps = n_steps
        self._seen = 0
        self._pending = ""
        self._terminal = sys.stderr.isatty()
        self._last_line = 0.0
        self._bar: Any = None
        self._task: Any = None

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self._pending += text
        *lines, self._pending = self._pending.split("\n")
        for line in lines:
            self._line(line)
        return len(text)

    def close(self) -> None:
        if self.closed:
            return
        self._hide_bar()
        if self._pending:
            self._line(self._pending)
        self._log.close()
        super().close()

    def _line(self, line: str) -> None:
        event = _marked(line)
        if event is not None:
            self._event(event)
            return
        self._log.write(line + "\n")
        self._log.flush()
        if found := STARTED.search(line):
            self._announce(found[1])
        elif found := _CACHED.search(line):
            self._announce(found[1], suffix="unchanged, taken from the cache")

    def _announce(self, task: str, suffix: str = "") -> None:
        self._hide_bar()
        name = task.replace("-", "_")
        self._last_line = time.monotonic()
        self._seen += 1
        self._say(
            f"[{self._seen}/{self._n_steps}] {name.replace('_', ' ')}"
            + (f": {suffix}" if suffix else "")
        )

    def _event(self, event: dict[str, Any]) -> None:
        if event["event"] == "note":
            self._log.write(event["text"] + "\n")
            self._say(f"      {event['text']}")
        elif self._terminal:
            self._show_bar(event)
        elif time.monotonic() - self._last_line > _SECONDS_BETWEEN_LINES:
            self._last_line = time.monotonic()
            self._say(
                f"      {event['description']}: {event['done']}/{event['total']}, "
                f"about {event['eta_seconds']:.0f} s left"
            )

    def _say(self, text: str) -> None:
        if self._bar is not None:
            self._bar.console.print(text, highlight=False, markup=False)
        else:
            print(text, file=sys.stderr, flush=True)

    def _show_bar(self, event: dict[str, Any]) -> None:
        from rich.console import Console as Terminal
        from rich.progress import BarColumn, Progress, TextColumn

        if self._bar is None:
            self._bar = Progress(
                TextColumn("      {task.description}"),
                BarColumn(),
                TextColumn("{task.completed}/{task.total}"),
                TextColumn("about {task.fields[eta]:.0f} s left"),
                console=Terminal(stderr=True),
                transient=True,
            )
            self._task = self._bar.add_task("", total=1, eta=0)
            self._bar.start()
        self._bar.update(
            self._task,
            description=event["description"],
            completed=event["done"],
            total=event["total"],
            eta=event["eta_seconds"],
        )

    def _hide_bar(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def _marked(line: str) -> dict[str, Any] | None:
    """The event of a marked line; None for any other, and for one that a kill or another writer
    cut in two."""
    _, found, text = line.partition(MARKER)
    try:
        event: dict[str, Any] | None = json.loads(text) if found else None
    except json.JSONDecodeError:
        return None
    return event
