"""The motion files that `regraft predict` writes for a model that signs."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from itertools import chain, count
from pathlib import Path
from typing import Any

from regraft.data.files import write_if_different

_LONGEST_NAME = 100


def keep_motions(answers: Sequence[dict[str, Any]], inputs: Sequence[str], folder: Path) -> None:
    """Write the "motion" (an .npz file as base64 text) of each answer, and put the path in its
    place; None stays None. Row i answers `inputs[i]`."""
    for found, path in zip(answers, motion_files(inputs, folder), strict=True):
        if found.get("motion") is not None:
            write_if_different(path, base64.b64decode(found["motion"]))
            found["motion"] = str(path)


def motion_files(inputs: Sequence[str], folder: Path) -> list[Path]:
    """A file for each input, called like it; where the name is taken, whatever its case, a number
    follows.

    >>> [path.name for path in motion_files(["a/one.wav", "b/One.flac", "two.wav"], Path("out"))]
    ['one.npz', 'One-2.npz', 'two.npz']
    """
    taken: set[str] = set()
    files = []
    for value in inputs:
        stem = Path(value).stem[:_LONGEST_NAME]
        names = chain([stem], (f"{stem}-{number}" for number in count(2)))
        name = next(name for name in names if name.casefold() not in taken)
        taken.add(name.casefold())
        files.append(folder / f"{name}.npz")
    return files
