"""Numbers that the gate reads: finite, or an error that says which one is missing."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from regraft.errors import UserError


def number(value: Any, what: str) -> float:
    """The value as a float; UserError unless it is a finite number."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)):
        raise UserError(f"the gate cannot decide: {what} is missing", got=repr(value))
    if not math.isfinite(value):
        raise UserError(f"the gate cannot decide: {what} is not finite", got=repr(value))
    return float(value)


def share(value: Any, what: str) -> float:
    """The value as a share; UserError unless it is a number from 0 to 1."""
    found = number(value, what)
    if not 0 <= found <= 1:
        raise UserError(f"{what} is no share", got=str(found))
    return found


def interval_of(comparison: Mapping[str, Any]) -> tuple[float, float]:
    """(low, high) of a comparison; UserError if one is missing or they are reversed."""
    low = number(comparison.get("low"), "the lower end of the comparison with the champion")
    high = number(comparison.get("high"), "the upper end of the comparison with the champion")
    if low > high:
        raise UserError("the comparison's interval is reversed", got=f"{low} to {high}")
    return low, high
