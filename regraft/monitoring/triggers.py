"""Does drift lead to a retraining now? A pure function of what was retrained when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from regraft.recipe.retraining import RetrainingOptions

_WEEK = timedelta(days=7)


@dataclass(frozen=True)
class Permission:
    """Whether to retrain, and why or why not."""

    allowed: bool
    reason: str


def may_retrain(
    retrainings: Sequence[Mapping[str, Any]],
    now: datetime,
    report_id: str,
    options: RetrainingOptions,
) -> Permission:
    """May the drift report `report_id` start a retraining at `now` (with a time zone)?

    `retrainings` are those of this model so far, each with `report_id`, `started` (ISO 8601 with a
    time zone) and `ended` (None while it is not). A report leads to one retraining that ends;
    between two starts lies the cool-down; seven days see at most `most_per_week` of them. Times
    are compared by their distance: a clock that was set back does not stop retraining for as long.

    >>> from datetime import UTC
    >>> may_retrain([], datetime(2026, 1, 1, tzinfo=UTC), "a1", RetrainingOptions()).allowed
    True
    """
    same = [one for one in retrainings if one["report_id"] == report_id]
    if any(one["ended"] for one in same):
        return Permission(False, f"drift report {report_id} has led to a retraining already")
    if same:
        return Permission(True, f"the retraining for drift report {report_id} goes on")
    running = [one for one in retrainings if not one["ended"]]
    if running:
        return Permission(False, f"the retraining for drift report {running[0]['report_id']} "
                          "has not ended")  # fmt: skip
    ages = [abs(now - datetime.fromisoformat(one["started"])) for one in retrainings]
    cooldown = timedelta(hours=options.cooldown_hours)
    if ages and min(ages) < cooldown:
        left = (cooldown - min(ages)).total_seconds() / 3600
        return Permission(
            False,
            f"the last retraining began {_hours(min(ages))} ago; the cool-down of "
            f"{options.cooldown_hours:g} h ends in {left:.1f} h",
        )
    this_week = sum(age < _WEEK for age in ages)
    if this_week >= options.most_per_week:
        return Permission(False, f"{this_week} retrainings within seven days, "
                          f"{options.most_per_week} are allowed")  # fmt: skip
    return Permission(True, "drift, and nothing stands against a retraining")


def enough_to_learn(examples: int, labels: int, options: RetrainingOptions) -> Permission:
    """Are `examples` new ones, `labels` of them labelled, enough to train on?"""
    if examples < options.min_new_examples:
        return Permission(
            False,
            f"{examples} new examples whose files are there, {options.min_new_examples} are "
            "needed (the server keeps inputs where serving.keep_inputs is set)",
        )
    if not labels and options.when_unlabelled == "ask":
        return Permission(
            False, f"none of the {examples} new examples has a label: see the list of what to label"
        )
    return Permission(True, f"{examples} new examples, {labels} of them labelled")


def _hours(age: timedelta) -> str:
    return f"{age.total_seconds() / 3600:.1f} h"
