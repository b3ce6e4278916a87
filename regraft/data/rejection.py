"""What cannot be used as an example, and how whoever named it is told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from regraft.errors import UserError


class RejectedError(ValueError):
    """A file cannot be used: `reason` is a word for machines, `detail` a sentence."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


@contextmanager
def told_to_user(noun: str, *, where: str, expected: str) -> Iterator[None]:
    """Raises UserError in the place of RejectedError and OSError, about the `noun` at `where`."""
    try:
        yield
    except RejectedError as error:
        raise UserError(
            f"cannot use the {noun} ({error.reason})",
            where=where,
            got=error.detail,
            expected=expected,
        ) from error
    except OSError as error:
        raise UserError(
            f"cannot read the {noun}", where=where, got=error.strerror or str(error)
        ) from error
