"""How long-running library code reports what it is doing, without knowing who listens.

A step may run in a process of its own whose output is piped to the parent (the local pipeline
runner does that). So a report is one line of text with a marker; the parent turns it into a bar
(`pipelines/console.py`), and a plain log (a pod, a test) shows readable lines.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

MARKER = "::regraft::"
_SECONDS_BETWEEN_REPORTS = 0.5

T = TypeVar("T")


def note(text: str) -> None:
    """Say one sentence to the user."""
    _emit({"event": "note", "text": text}, plain=text)


def track(items: Iterable[T], description: str, *, total: int) -> Iterator[T]:
    """Yield `items` while reporting count, total and the remaining seconds."""
    started = last = time.monotonic()
    for done, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        if done == total or now - last >= _SECONDS_BETWEEN_REPORTS:
            last = now
            remaining = (now - started) / done * (total - done)
            _emit(
                {
                    "event": "progress",
                    "description": description,
                    "done": done,
                    "total": total,
                    "eta_seconds": round(remaining, 1),
                },
                plain=None if done < total else f"{description}: {done}/{total}",
            )


def _emit(event: dict[str, object], *, plain: str | None) -> None:
    if os.environ.get("REGRAFT_PROGRESS") == "json":
        print(MARKER + json.dumps(event), flush=True)
    elif plain is not None:
        print(plain, file=sys.stderr, flush=True)
