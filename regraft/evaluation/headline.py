"""The top of a report: a few figures and the verdict in plain words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from regraft.errors import UserError


def tiles(content: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The few figures at the top: shares with intervals, or text."""
    row = _served_row(content)
    calibration = content["reliability"]
    result: list[dict[str, Any]] = [
        {"name": "accuracy", "share": row["accuracy"], "interval": row["accuracy_interval"]},
        {"name": "macro-F1", "share": row["macro_f1"], "interval": row["macro_f1_interval"]},
        {
            "name": "calibration error",
            "share": calibration["ece_after"],
            "note": "before scaling "
            + (
                f"{calibration['ece_before']:.1%}" if calibration["ece_before"] is not None else "–"
            ),
        },
    ]
    distilled = content["distillation"]
    if distilled and distilled["retention"]:
        speed = f"at {distilled['speedup']:.1f} × its speed" if distilled["speedup"] else ""
        result.append({"name": "student / teacher", "share": distilled["retention"], "note": speed})
    return result


def verdict(content: Mapping[str, Any]) -> str:
    """One or two sentences that need no statistics to be understood."""
    row, count = _served_row(content), content["mistakes"]["count"]
    says = (
        f"The {content['served']} answers {row['accuracy']:.1%} of {count:,} test "
        f"{content['noun']} correctly"
    )
    parts = [says]
    majority = _row(content, "majority")
    if majority:
        parts.append(f"; always naming the commonest class would get {majority['accuracy']:.1%}")
    decision = content["decision"]
    if decision:
        done = {
            "first": "It becomes the first champion",
            "promote": "It replaces the champion",
            "hold": "It does not replace the champion",
        }[decision["outcome"]]
        parts.append(f". {done}: {decision['reason']}")
    return "".join(parts).rstrip(".") + "."


def _served_row(content: Mapping[str, Any]) -> dict[str, Any]:
    for row in content["results"]["rows"]:
        if row["served"]:
            return dict(row)
    raise UserError(
        "the served model has no test metrics",
        where=f"metrics[{content['served']!r}]['test']",
        expected="the result of classification_metrics",
    )


def _row(content: Mapping[str, Any], key: str) -> dict[str, Any] | None:
    rows = content["results"]["rows"]
    return next((row for row in rows if row["key"] == key and row["split"] == "test"), None)
