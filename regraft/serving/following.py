"""The server follows the alias: a thread asks the registry, loads the new version beside the old
one and swaps the two. A registry that does not answer changes nothing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from regraft.errors import UserError, in_short
from regraft.progress import note
from regraft.registry import store, versions
from regraft.registry.versions import Reference
from regraft.serving.loaded import LoadedModel, load

_SECONDS_BEFORE_ANOTHER_TRY = 30.0


def find(reference: str) -> Reference:
    """`versions.resolve`, except that a database that has gone is not created anew."""
    uri = store.tracking_uri()
    path = Path(uri.removeprefix("sqlite:///"))
    if store.is_local(uri) and not path.is_file():
        raise UserError("the registry's database is gone", where=str(path), got="no such file")
    return versions.resolve(reference)


class Follower:
    """Keeps `current` at the version that `reference` means.

    `current` is replaced in one assignment: whoever took the old version keeps it until done.
    `optional` allows that there is none (a challenger need not exist): `current` is None then.
    """

    def __init__(
        self,
        reference: str,
        *,
        poll_seconds: float,
        optional: bool = False,
        on_swap: Callable[[LoadedModel], None] = lambda model: None,
        find: Callable[[str], Reference] = find,
        load: Callable[[Reference], LoadedModel] = load,
    ) -> None:
        self.reference = reference
        self.current: LoadedModel | None = None
        self.failed_loads = 0
        self._poll_seconds, self._optional, self._on_swap = poll_seconds, optional, on_swap
        self._find, self._load = find, load
        self._seen = time.monotonic()
        self._seen_at = datetime.now(UTC)
        self._problem = ""
        self._not_before: tuple[str, float] = ("", 0.0)  # version that failed, time of another try
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Load the version now (raises `UserError` unless optional) and begin to follow."""
        try:
            self._follow()
        except Exception as error:
            if not self._optional:
                raise
            self._say(error)
        self._thread = threading.Thread(target=self._run, name="regraft-follower", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Follow no longer. A thread that waits for a dead registry is left behind."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(1.0)

    def status(self) -> dict[str, Any]:
        """When the registry last answered and what was wrong since ("" when nothing is)."""
        return {
            "last_seen": self._seen_at.isoformat(timespec="seconds"),
            "seconds_ago": round(time.monotonic() - self._seen, 1),
            "problem": self._problem,
        }

    @property
    def alias(self) -> str:
        """The alias that is followed; empty for a fixed version."""
        if "/" in self.reference:
            return ""
        return self.reference.partition("@")[2] or versions.CHAMPION

    @property
    def seconds_unseen(self) -> float:
        """Seconds since the registry last answered."""
        return time.monotonic() - self._seen

    def _run(self) -> None:
        while not self._stop.wait(self._poll_seconds):
            try:
                self._follow()
            except Exception as error:  # noqa: BLE001 (the old version must go on answering)
                self._say(error)

    def _say(self, error: Exception) -> None:
        text = in_short(error).splitlines()[0][:300]
        if text != self._problem:
            note(f"the registry is not followed at the moment: {text}")
        self._problem = text

    def _follow(self) -> None:
        wanted = self._find(self.reference)
        self._seen, self._seen_at = time.monotonic(), datetime.now(UTC)
        version, when = self._not_before
        if wanted.version == version and time.monotonic() < when:
            return
        if self.current is None or self.current.version != wanted.version:
            self._swap(wanted)
        self._problem = ""

    def _swap(self, wanted: Reference) -> None:
        try:
            model = self._load(wanted)
        except Exception:
            self.failed_loads += 1
            self._not_before = (wanted.version, time.monotonic() + _SECONDS_BEFORE_ANOTHER_TRY)
            raise
        self.current = model
        self._on_swap(model)
