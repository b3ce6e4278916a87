"""What drift led to: one folder per retraining, `home/monitoring/NAME/retrainings/REPORT_ID/`.

It holds the evidence (the drift report as it was) and `retraining.json`. A retraining is written
down before it begins, so that one that is killed is known and goes on.
"""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from regraft.data.files import atomic_write
from regraft.registry import store
from regraft.registry.lock import locked

RECORD, EVIDENCE = "retraining.json", "evidence"


def folder_of(name: str, report_id: str = "") -> Path:
    """Where the retrainings of a model are, or one of them."""
    return store.home() / "monitoring" / name / "retrainings" / report_id


def past(name: str) -> list[dict[str, Any]]:
    """Every retraining of the model, oldest first: report_id, started, ended (None while it is
    not), attempts, outcome, decision."""
    found = [_read(path) for path in folder_of(name).glob(f"*/{RECORD}")]
    return sorted(found, key=lambda one: str(one["started"]))


def unfinished(name: str) -> dict[str, Any] | None:
    """The retraining that was begun and has not ended, if there is one."""
    return next((one for one in past(name) if not one["ended"]), None)


def begin(name: str, report_id: str, evidence: Path, *, now: datetime | None = None) -> Path:
    """Write down that a retraining begins (or goes on), with a copy of the files in `evidence`.

    Returns its folder. Repeating it changes nothing but the number of attempts.
    """
    folder = folder_of(name, report_id)
    with locked(f"{name} retrainings"):
        record = folder / RECORD
        if record.is_file():
            known = _read(record)
            _write(record, known | {"attempts": known["attempts"] + 1})
            return folder
        shutil.rmtree(folder, ignore_errors=True)  # of a kill before the record was written
        shutil.copytree(evidence, folder / EVIDENCE)
        _write(
            record,
            {
                "report_id": report_id,
                "started": (now or datetime.now(UTC)).isoformat(timespec="seconds"),
                "ended": None,
                "attempts": 1,
                "outcome": "",
                "decision": None,
            },
        )
    return folder


def end(
    name: str, report_id: str, *, outcome: str, decision: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Write down how it ended: the gate's outcome, or `given up`. The first ending counts."""
    with locked(f"{name} retrainings"):
        path = folder_of(name, report_id) / RECORD
        record = _read(path)
        if not record["ended"]:
            now = datetime.now(UTC).isoformat(timespec="seconds")
            record |= {"ended": now, "outcome": outcome, "decision": decision}
            _write(path, record)
    return record


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _write(path: Path, record: dict[str, Any]) -> None:
    text = json.dumps(record, indent=2)
    atomic_write(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
