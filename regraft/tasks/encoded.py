"""Inputs that came as text: the path of a file, or its bytes in base64."""

from __future__ import annotations

from pathlib import Path

from regraft.data.images import from_base64
from regraft.errors import UserError

_LONGEST_PATH = 4096


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
