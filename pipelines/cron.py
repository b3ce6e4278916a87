"""Kubeflow's cron expressions: six fields, the first one seconds."""

from __future__ import annotations

import re
from collections.abc import Sequence

from regraft.errors import UserError

_FIELDS = (
    ("second", 0, 59, ()),
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of month", 1, 31, ()),
    ("month", 1, 12, "JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC".split()),
    ("day of week", 0, 6, "SUN MON TUE WED THU FRI SAT".split()),
)


def check_cron(text: str) -> str:
    """The expression with single blanks between its fields.

    Raises UserError where a field is missing, out of range or not understood. Grammar: that of
    robfig/cron, which Kubeflow uses: *, ?, numbers, names, a-b, */n, a-b/n and lists of these.
    """
    fields = text.split()
    if len(fields) != len(_FIELDS):
        fix = f'for example "0 {" ".join(fields)}"' if len(fields) == 5 else "seconds come first"
        raise _wrong(text, f"{len(fields)} fields", fix)
    for part, (name, low, high, names) in zip(fields, _FIELDS, strict=True):
        for term in part.split(","):
            if not _is_term(term, low, high, names, any_mark=name.startswith("day")):
                raise _wrong(text, f"{name} {part!r}", f"{name}s are {low} to {high}")
    return " ".join(fields)


def _is_term(term: str, low: int, high: int, names: Sequence[str], *, any_mark: bool) -> bool:
    if term == "?":
        return any_mark
    found = re.fullmatch(r"(\*|\w+(?:-\w+)?)(?:/(\d+))?", term)
    if not found or (found[2] is not None and int(found[2]) == 0):
        return False
    if found[1] == "*":
        return True
    ends = [_number(word, names, low) for word in found[1].split("-")]
    if any(end is None or not low <= end <= high for end in ends):
        return False
    numbers = [end for end in ends if end is not None]
    return numbers == sorted(numbers)


def _number(word: str, names: Sequence[str], low: int) -> int | None:
    if word.isdecimal():
        return int(word)
    return names.index(word.upper()) + low if word.upper() in names else None


def _wrong(text: str, got: str, fix: str) -> UserError:
    return UserError(
        "the schedule is not understood",
        where=f"--cron {text!r}",
        got=got,
        expected='six fields, "second minute hour day month weekday"; "0 0 * * * *" is every hour',
        fix=fix,
    )
