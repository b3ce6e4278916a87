"""The content of drift.json: what was looked at, what came of it, under which rule."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pandas as pd

from regraft.monitoring.samples import Sample
from regraft.monitoring.verdict import Verdict
from regraft.recipe.monitoring import MonitoringOptions


def entry(version: str, window: Sample, verdict: Verdict) -> dict[str, Any]:
    """One window as drift.json tells it."""
    rows = window.rows
    # Files have no answer ids of their own, so their content counts too.
    ids = (rows["id"].astype(str) + rows.get("input_hash", pd.Series("", rows.index))).tolist()
    return {
        "window_id": _digest([version, *ids]),
        "version": version,
        "name": window.name,
        "rows": len(rows),
        "time": str(rows["time"].iloc[-1]) if len(rows) else "",
        "first_sequence": int(rows["sequence"].min()) if len(rows) else -1,
        "last_sequence": int(rows["sequence"].max()) if len(rows) else -1,
        "ids": rows["id"].astype(str).tolist(),
        "labelled": _labelled(window) if _knows_accuracy(verdict) else [],
        "judged": verdict.judged,
        "shifted": verdict.shifted,
        "drifted": verdict.drifted,
        "reason": verdict.reason,
        "tests": verdict.tests,
        "defects": verdict.defects,
        "notes": verdict.notes,
    }


def _knows_accuracy(verdict: Verdict) -> bool:
    return any(test["monitor"] == "performance" for test in verdict.tests)


def _labelled(window: Sample) -> list[str]:
    return [str(i) for i in window.rows["id"][window.rows["truth"].notna()]]


def remembered(told: dict[str, Any]) -> dict[str, Any]:
    """What the state keeps of a window: for the pictures the effects, not every test."""
    left_out = {"tests", "defects", "notes", "labelled"}
    return {key: value for key, value in told.items() if key not in left_out} | {
        "effects": effects_of(told["tests"])
    }


def effects_of(tests: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    """{title: [effect, min_effect, fires, monitor]} of the tests that have a p-value."""
    return {
        test["title"]: [test["effect"], test["min_effect"], test["fires"], test["monitor"]]
        for test in tests
        if test["p_value"] is not None
    }


def summary(
    name: str,
    version: str,
    entries: list[dict[str, Any]],
    waiting: int,
    options: MonitoringOptions,
) -> dict[str, Any]:
    """The content of drift.json. The `report_id` is that of the windows and their verdicts: the
    same answers judged again have the same."""
    drifted = [entry for entry in entries if entry["drifted"]]
    verdicts = [f"{e['window_id']} {e['shifted']} {e['drifted']}" for e in entries]
    return {
        "name": name,
        "version": version,
        "checked": datetime.now(UTC).isoformat(timespec="seconds"),
        "report_id": _digest([version, *verdicts]),
        "drifted": bool(drifted),
        "reason": _reason(entries, drifted, waiting, options),
        "rule": {key: getattr(options, key) for key in ("window", "alpha", "persistence")},
        "windows": entries,
        "waiting": waiting,
    }


def _reason(
    entries: list[dict[str, Any]],
    drifted: list[dict[str, Any]],
    waiting: int,
    options: MonitoringOptions,
) -> str:
    if not entries:
        return f"nothing to judge: {waiting} new answers, a window has {options.window}"
    told = (drifted or entries)[-1]
    defects = sum(bool(entry["defects"]) for entry in entries)
    also = f"; {defects} with defects in the data" if defects else ""
    shifted = sum(entry["shifted"] for entry in entries)
    return f"{told['name']}: {told['reason']} ({shifted} of {len(entries)} windows shifted{also})"


def _digest(parts: Sequence[str]) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
