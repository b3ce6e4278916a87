"""What monitoring remembers of a model between two checks.

One JSON file, replaced at the very end of a check, so that a check that is killed is simply made
again. Whoever reads it to write it holds the lock of `held`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from regraft.data.files import atomic_write
from regraft.errors import UserError
from regraft.registry import store
from regraft.registry.lock import locked

_REMEMBERED_WINDOWS = 200
_WINDOWS_WITH_IDS = 20
_REMEMBERED_LABELS = 20_000


@dataclass
class State:
    """`windows`: one entry per window that was looked at, oldest first: {window_id, version, name,
    time, rows, first_sequence, last_sequence, ids (of the latest windows only), judged, shifted,
    drifted, reason, effects {title: [effect, min_effect, fires,
    monitor]}}. `judged_labels`: the latest answers whose truth has been judged.
    """

    windows: list[dict[str, Any]] = field(default_factory=list)
    judged_labels: list[str] = field(default_factory=list)

    @property
    def seen_ids(self) -> set[str]:
        """Ids of the answers in the latest windows."""
        return {identity for window in self.windows for identity in window.get("ids", [])}

    @property
    def seen_up_to(self) -> int:
        """Every answer with this sequence number or a smaller one has been looked at."""
        without = [w["last_sequence"] for w in self.windows if not w.get("ids")]
        return max(without, default=-1)

    def of_version(self, version: str) -> list[dict[str, Any]]:
        """Windows of one model version; another champion's windows say nothing about this one."""
        return [w for w in self.windows if w["version"] == version]

    def add(self, windows: list[dict[str, Any]], labelled: Sequence[str] = ()) -> None:
        """Append windows, and the answers whose truth was judged; the oldest are forgotten."""
        self.judged_labels = [*self.judged_labels, *labelled][-_REMEMBERED_LABELS:]
        self.windows = (self.windows + windows)[-_REMEMBERED_WINDOWS:]
        for window in self.windows[:-_WINDOWS_WITH_IDS]:
            window["ids"] = []


def folder(name: str) -> Path:
    """Where everything that monitoring keeps of the model `name` lies."""
    return store.home() / "monitoring" / name


@contextmanager
def held(name: str, *, timeout_seconds: float = 3600.0) -> Iterator[None]:
    """One monitor of a model at a time: the second waits, and says so.

    Raises UserError when the first is still at it after `timeout_seconds`.
    """
    where = store.writable_folder(folder(name))
    with locked(f"monitoring of {name}", folder=where, timeout_seconds=timeout_seconds):
        yield


def read(name: str) -> State:
    """The state of the model; an empty one before the first check. UserError if unreadable."""
    path = folder(name) / "state.json"
    if not path.exists():
        return State()
    try:
        return State(**json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise UserError(
            "the state of monitoring cannot be read",
            where=str(path),
            got=str(error),
            fix="move it away; the next check then looks at the whole prediction log again",
        ) from error


def write(name: str, state: State) -> None:
    """Replace the state in one step."""
    text = json.dumps(asdict(state), indent=1, ensure_ascii=False)
    path = folder(name) / "state.json"
    atomic_write(path, lambda partial: partial.write_text(text, encoding="utf-8"))
