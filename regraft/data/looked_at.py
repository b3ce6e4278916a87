"""Image files that were looked at before: one that has not changed is not opened again.

A file counts as unchanged while its size and its time of change are as they were, as in git's
index. What was found is kept as JSON: {path: [size, nanoseconds, group, reason]}.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

from regraft.data.files import atomic_write

Look = Callable[[Path], tuple[str, str]]
"""A path to what pairs with the same image share, and why the image cannot be used ('' if it
can)."""


def remembering(look: Look, paths: set[str], memory: Path) -> dict[str, tuple[str, str]]:
    """What `look` finds in every file of `paths`; those that `memory` knows are not opened. The
    memory then holds these files alone."""
    known = json.loads(memory.read_text(encoding="utf-8")) if memory.is_file() else {}
    found, kept = {}, {}
    for name in sorted(paths):
        state = _state(Path(name))
        own = known.get(name)
        if own is None or state is None or own[:2] != state:
            own = [*(state or ()), *look(Path(name))]
        if state is not None:
            kept[name] = own
        found[name] = (own[-2], own[-1])
    if kept != known:
        memory.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(kept)
        atomic_write(memory, partial(Path.write_text, data=text, encoding="utf-8"))
    return found


def _state(path: Path) -> list[int] | None:
    """Size and time of change; None for what is no file."""
    if not path.is_file():
        return None
    facts = path.stat()
    return [facts.st_size, facts.st_mtime_ns]
