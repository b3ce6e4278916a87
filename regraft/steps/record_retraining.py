"""The end of a retraining."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from regraft.monitoring import retrainings, state
from regraft.steps.decide_retraining import DRIFT, WAITING


def record_retraining(
    *, name: str, evidence: str | Path, evaluation: str | Path, decision: str | Path
) -> str:
    """Keep the decision, the metrics and the report in the retraining's folder, write down that it
    ended, and return the outcome.

    `evidence`, `evaluation` and `decision` are the folders of the drift report, of evaluation and
    of registration.
    """
    report = json.loads(Path(evidence, "drift.json").read_text(encoding="utf-8"))
    found = json.loads(Path(decision, "decision.json").read_text(encoding="utf-8"))
    folder = retrainings.folder_of(name, report["report_id"])
    shutil.copyfile(Path(evaluation, "metrics.json"), folder / "metrics.json")
    shutil.copyfile(Path(decision, "report.html"), folder / "report.html")
    retrainings.end(name, report["report_id"], outcome=found["outcome"], decision=found)
    _drop_waiting(name, report["report_id"])
    return str(found["outcome"])


def _drop_waiting(name: str, report_id: str) -> None:
    """Drift that has led to a retraining no longer waits for one."""
    kept = state.folder(name) / WAITING / DRIFT
    if kept.is_file() and json.loads(kept.read_text("utf-8"))["report_id"] == report_id:
        shutil.rmtree(kept.parent)
