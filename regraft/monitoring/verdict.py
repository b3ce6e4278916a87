"""From many tests of many windows to one yes or no: correction, effect, persistence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from regraft.errors import UserError
from regraft.monitoring.monitors import Test

_MOST_TELLING = ("performance", "embeddings", "predictions", "inputs")
_MANY = 100


@dataclass(frozen=True)
class Verdict:
    """About one window.

    `shifted`: this window differs from the reference. `drifted`: so did the windows before it, so
    that it counts. `judged` is False where the window could not be compared; it then says
    nothing, neither for nor against drift. `defects` name broken data: mend them, retraining on
    them would be wrong. `tests` are plain values, each with `adjusted_p` and `fires`.
    """

    drifted: bool
    shifted: bool
    judged: bool
    reason: str
    tests: list[dict[str, Any]] = field(default_factory=list)
    defects: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def judge(
    tests: Sequence[Test],
    *,
    alpha: float,
    persistence: int,
    before: Sequence[bool] = (),
    alone: bool = False,
    notes: Sequence[str] = (),
) -> Verdict:
    """Judge one window by all its tests.

    A test fires if its p-value, corrected by Holm's method over all tests of the window, is at
    most `alpha`, and its effect at least its minimum. Drift is `persistence` shifted windows in
    a row; `before` tells which of the judged windows before it were shifted, oldest first.
    With `alone` there is no row, and the one window decides. Raises UserError on a p-value or an
    effect that is NaN.
    """
    by_chance = [test for test in tests if test.p_value is not None]
    _refuse_nan(by_chance)
    adjusted = iter(holm([float(t.p_value or 0.0) for t in by_chance]))
    rows = [_row(t, None if t.p_value is None else next(adjusted), alpha) for t in tests]
    firing = [row for row in rows if row["fires"] and row["p_value"] is not None]
    row_of = [*before[len(before) - (persistence - 1) :], bool(firing)] if persistence > 1 else []
    lasts = alone or persistence == 1 or (len(row_of) == persistence and all(row_of))
    return Verdict(
        drifted=bool(firing) and lasts,
        shifted=bool(firing),
        judged=True,
        reason=_reason(firing, len(by_chance), lasts, persistence, alone),
        tests=rows,
        defects=[_defect(row) for row in rows if row["fires"] and row["p_value"] is None],
        notes=list(notes),
    )


def not_judged(problem: str, tests: Sequence[Test] = ()) -> Verdict:
    """The verdict on a window that cannot be compared; `tests` may hold its defects."""
    rows = [_row(test, None, 0.0) for test in tests if test.p_value is None]
    return Verdict(
        drifted=False,
        shifted=False,
        judged=False,
        reason=f"not judged: {problem}",
        tests=rows,
        defects=[_defect(row) for row in rows if row["fires"]],
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values adjusted for their number (Holm, Scandinavian Journal of Statistics 6, 1979).

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = np.argsort(p_values, kind="stable")
    steps = np.asarray(p_values, dtype=np.float64)[order] * np.arange(len(order), 0, -1)
    adjusted = np.empty(len(order))
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return [round(float(p), 12) for p in adjusted]


def _refuse_nan(tests: Sequence[Test]) -> None:
    for test in tests:
        if not np.isfinite([test.p_value or 0.0, test.effect]).all():
            raise UserError("drift cannot be judged by NaN", where=test.title)


def _row(test: Test, adjusted: float | None, alpha: float) -> dict[str, Any]:
    large = test.effect >= test.min_effect if test.p_value is not None else (
        test.effect > test.min_effect
    )  # fmt: skip
    significant = test.p_value is None or (adjusted is not None and adjusted <= alpha)
    interval = None if test.interval is None else list(test.interval)
    return asdict(test) | {
        "title": test.title,
        "interval": interval,
        "adjusted_p": adjusted,
        "fires": bool(large and significant),
    }


def _reason(
    firing: list[dict[str, Any]], tests: int, lasts: bool, persistence: int, alone: bool
) -> str:
    if not firing:
        return f"no shift in {tests} tests"
    told = sorted(firing, key=_weight)
    named = "; ".join(_evidence(row) for row in told[:3])
    more = f" and {len(told) - 3} more" if len(told) > 3 else ""
    if not lasts:
        return f"shifted, not yet for {persistence} windows in a row: {named}{more}"
    rule = "one window was given and decides" if alone else f"{persistence} windows in a row"
    return f"drift ({rule}): {named}{more}"


def _weight(row: dict[str, Any]) -> tuple[int, float]:
    """What matters most first: accuracy, then what the model sees, then what a picture measures."""
    monitor = _MOST_TELLING.index(row["monitor"]) if row["monitor"] in _MOST_TELLING else 99
    return monitor, -row["effect"]


def _evidence(row: dict[str, Any]) -> str:
    note = f" ({row['note']})" if row["note"] else ""
    effect = f"{row['effect']:.2f}" if row["effect"] < _MANY else f"over {_MANY}"
    return (
        f"{row['title']} {effect} {row['effect_name']}, at least "
        f"{row['min_effect']:g} counts, p = {row['adjusted_p']:.2g}{note}"
    )


def _defect(row: dict[str, Any]) -> str:
    return f"{row['title']}: {row['note']}" if row["note"] else str(row["title"])
