"""Inputs that came as text: the path of a file, or its bytes in base64."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from regraft.data.images import from_base64
from regraft.errors import UserError

_LONGEST_PATH = 4096

Opened = TypeVar("Opened")


def is_file(value: str) -> bool:
    """Whether a text that may be anything is the path of a file."""
    try:
        return len(value) < _LONGEST_PATH and Path(value).is_file()
    except (OSError, ValueError):  # too long for a name, or with a null character
        return False


def decoded(text: str, what: str) -> bytes:
    """What base64 text, alone or as a data: address, stands for; `what` ("an image") is expected.
    Raises UserError."""
    try:
        return from_base64(text)
    except ValueError as error:
        raise UserError(
            "the input is not base64",
            got=text[:80],
            expected=f"base64 of the bytes of {what}, alone or as a data: address",
        ) from error


def opened(value: Any, open_: Callable[[Any], Opened], what: str) -> Opened:
    """What `open_` makes of a path, of bytes (or of what else it takes), or of the bytes that
    base64 text stands for; `what` ("an image") is expected.

    Raises UserError: a text is neither an existing file nor base64, and as `open_`.
    """
    if not isinstance(value, str):
        return open_(value)
    if is_file(value):
        return open_(Path(value))
    try:
        return open_(from_base64(value))
    except ValueError as error:
        raise UserError(
            "the input is neither an existing file nor base64",
            got=value[:80],
            expected=f"a path, the bytes of {what}, or base64",
        ) from error
