"""The one exception for everything that the user can mend."""

from __future__ import annotations


class UserError(Exception):
    """The user's input is at fault: the command line prints the message and exits with 2.

    >>> print(UserError("class has too few images", where="data/rust", got="1 image",
    ...                 expected="at least 4", fix="add photos or drop the class"))
    class has too few images
      where:    data/rust
      got:      1 image
      expected: at least 4
      to mend:  add photos or drop the class
    """

    def __init__(
        self, what: str, *, where: str = "", got: str = "", expected: str = "", fix: str = ""
    ) -> None:
        self.what, self.where, self.got, self.expected, self.fix = what, where, got, expected, fix
        details = {"where:": where, "got:": got, "expected:": expected, "to mend:": fix}
        lines = [f"  {name:<9} {text}" for name, text in details.items() if text]
        super().__init__("\n".join([what, *lines]))


def in_short(error: Exception) -> str:
    """What happened, without details that only the user of a command needs."""
    return error.what if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
