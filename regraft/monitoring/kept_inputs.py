"""Inputs that are kept beside the prediction log, each once, named by its content."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from regraft.data.files import atomic_write
from regraft.monitoring.log_folder import INPUTS

_NAME = re.compile(rf"{INPUTS}/[0-9a-f]{{64}}(\.[a-z0-9]{{1,8}})?")
_KINDS = {
    b"\xff\xd8\xff": ".jpg",
    b"\x89PNG\r\n": ".png",
    b"GIF8": ".gif",
    b"BM": ".bmp",
    b"II*\0": ".tif",
    b"MM\0*": ".tif",
}


def file_name(input_hash: str, content: bytes) -> str:
    """Where in the folder of the log an input belongs: `inputs/<sha256><suffix>`; the suffix is
    what the first bytes of a picture say."""
    return f"{INPUTS}/{input_hash}{_suffix_of(content)}"


def write(path: Path, content: bytes, *, fsync: bool) -> bool:
    """Keep an input; it is there, whole, when this returns. False if it was there already."""
    if path.is_file():
        return False

    def fill(partial: Path) -> None:
        with partial.open("wb") as file:
            file.write(content)
            if fsync:
                file.flush()
                os.fsync(file.fileno())

    atomic_write(path, fill)
    return True


def absolute(path: str, folder: Path) -> str:
    """A record names a kept input by its place in the folder, so that the folder may be moved."""
    return str(folder / path) if _NAME.fullmatch(path) else path


def remove(folder: Path, names: Iterable[str]) -> int:
    """Remove kept inputs by the names that records give them; returns the bytes gained.

    The caller holds the lock of the folder and knows that no record needs them.
    """
    gained = 0
    for name in names:
        path = folder / name
        if _NAME.fullmatch(name) and path.is_file():
            gained += path.stat().st_size
            path.unlink()
    return gained


def listed(folder: Path) -> list[str]:
    """The names of all kept inputs, and of what a killed process left half-written."""
    place = folder / INPUTS
    return [f"{INPUTS}/{path.name}" for path in place.iterdir()] if place.is_dir() else []


def _suffix_of(content: bytes) -> str:
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return ".webp"
    return next((suffix for magic, suffix in _KINDS.items() if content.startswith(magic)), "")
