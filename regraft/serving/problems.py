"""What the server says when it does not answer: one JSON shape, never a stack trace."""

from __future__ import annotations

from typing import Any

from regraft.errors import UserError

TOO_LARGE = {"too_many_pixels"}


class Refused(UserError):
    """A request that is not answered: HTTP status and a word for machines beside the message."""

    def __init__(
        self,
        status: int,
        code: str,
        what: str,
        *,
        where: str = "",
        got: str = "",
        expected: str = "",
        fix: str = "",
        headers: dict[str, str] | None = None,
    ) -> None:
        self.status, self.code, self.headers = status, code, headers or {}
        super().__init__(what, where=where, got=got, expected=expected, fix=fix)


def as_json(error: UserError) -> dict[str, Any]:
    """{"error": {code, message, where, got, expected, fix}}."""
    refused = of_input(error)
    return {
        "error": {
            "code": refused.code,
            "message": refused.what,
            "where": refused.where,
            "got": refused.got,
            "expected": refused.expected,
            "fix": refused.fix,
        }
    }


def of_input(error: UserError, *, where: str = "") -> Refused:
    """The refusal of an input that the task cannot use; a refusal stays what it is."""
    if isinstance(error, Refused):
        return error
    reason = getattr(error.__cause__, "reason", "") or "bad_input"
    return Refused(
        413 if reason in TOO_LARGE else 400,
        reason,
        error.what,
        where=where or error.where,
        got=error.got,
        expected=error.expected,
        fix=error.fix,
    )


def busy(what: str, *, got: str, expected: str) -> Refused:
    """The server has enough to do: come back in a second."""
    return Refused(
        503,
        "busy",
        what,
        got=got,
        expected=expected,
        fix="wait a second and send it again",
        headers={"retry-after": "1"},
    )
