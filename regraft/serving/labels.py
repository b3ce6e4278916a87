"""POST /feedback: what answers should have been."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from regraft.monitoring.feedback import Feedback
from regraft.serving.problems import Refused

AddLabels = Callable[[list[dict[str, Any]]], Feedback]
_FORM = '{"id": ..., "label": ...}, or {"labels": [...]} with id or input_hash each'


def add(body: bytes, add_labels: AddLabels | None) -> dict[str, Any]:
    """Keep the labels in a body; returns what became of them (see `monitoring.feedback`).

    Raises `UserError`; 404 when none of them belongs to an answer in the log.
    """
    if add_labels is None:
        raise Refused(404, "no_log", "this server keeps no prediction log")
    rows = _rows(body)
    try:
        found = add_labels(rows)
    except OSError as error:
        raise Refused(
            503,
            "log_unavailable",
            "the labels could not be written, and none was kept",
            got=str(error)[:200],
            fix="make room on the server's disk, then send them again",
            headers={"retry-after": "5"},
        ) from error
    if found.unknown and not found.added and not found.unchanged:
        raise Refused(
            404,
            "unknown_answer",
            "none of the labels belongs to an answer in the log",
            got=", ".join(found.unknown[:5]),
            expected="ids of answers, or hashes of inputs, that the log still holds",
        )
    return asdict(found)


def _rows(body: bytes) -> list[dict[str, Any]]:
    try:
        content = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise _malformed(str(error)[:200]) from error
    rows = content.get("labels", [content]) if isinstance(content, dict) else content
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise _malformed(type(content).__name__)
    return rows


def _malformed(got: str) -> Refused:
    what = "the body names no labels"
    return Refused(400, "malformed", what, where="body", got=got, expected=_FORM)
