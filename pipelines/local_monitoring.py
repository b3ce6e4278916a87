"""Run one check of the monitoring pipeline on this machine, and the retraining that follows."""

from __future__ import annotations

import fcntl
import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipelines.local import steps_of
from pipelines.runner import claimed, cpu_seconds, run_pipeline, step_table
from regraft.progress import note
from regraft.recipe import Recipe
from regraft.registry import store

STEPS = ["drift_check", "retraining_data", "retraining_record"]
BUSY = "another check of this model is running"


def run_monitoring(
    recipe: Recipe, out_dir: Path, *, window: str = "", since: str = "", retrain: bool = True
) -> dict[str, Any]:
    """Run the pipeline and write summary.json into `out_dir`; returns the summary.

    drifted, reason, windows, retrained, why_not, decision (None without a retraining), reports,
    steps, seconds, cpu_seconds. While another check of this model runs nothing is done, and
    `why_not` says so. A retraining that was killed or failed goes on with the step that was next.

    Raises UserError and StepError as `pipelines.local.run_training`.
    """
    store.writable_folder(store.home())
    with _only_one(recipe.name) as alone:
        if not alone:
            note(f"{BUSY}: nothing was done")
            return _nothing(BUSY)
        return _run(recipe, out_dir, window=window, since=since, retrain=retrain)


def _run(
    recipe: Recipe, out_dir: Path, *, window: str, since: str, retrain: bool
) -> dict[str, Any]:
    from pipelines.arguments import monitoring_arguments
    from pipelines.monitoring import monitoring_pipeline
    from regraft.monitoring.retrainings import past

    started, cpu_before = time.time(), cpu_seconds()
    with_student, shards = recipe.distillation.enabled, recipe.features.shards
    steps = [*STEPS[:2], *steps_of(recipe), *STEPS[2:]]
    arguments = monitoring_arguments(recipe, window=window, since=since, retrain=retrain)
    pipeline = monitoring_pipeline(with_student=with_student, shards=shards)
    with claimed(out_dir) as records:
        task = run_pipeline(pipeline, arguments, out_dir, records, len(steps), cached=True)
        drift = Path(task.outputs["drift"].path)
        check = json.loads((drift / "check.json").read_text(encoding="utf-8"))
        ended = {one["report_id"]: one for one in past(recipe.name)} if check["retrain"] else {}
        summary = {
            "recipe": recipe.name,
            **_summary(recipe.name, check, ended.get(check["report_id"]), drift, out_dir),
            "steps": step_table(records, steps if check["retrain"] else STEPS[:1]),
            "seconds": round(time.time() - started, 2),
            "cpu_seconds": round(cpu_seconds() - cpu_before, 2),
        }
        (out_dir / "summary.json").write_text(json.dumps(summary, indent=2), encoding="utf-8")
    return summary


def _summary(
    name: str, check: dict[str, Any], ended: dict[str, Any] | None, drift: Path, out_dir: Path
) -> dict[str, Any]:
    """What the check said and what came of it; reports are copied beside summary.json."""
    from regraft.monitoring.retrainings import folder_of

    reports = {}
    for key, file in (("drift", "report.html"), ("to_label", "to_label.csv"),
                      ("to_label_page", "to_label.html")):  # fmt: skip
        if (drift / file).is_file():
            target = out_dir / ("drift.html" if key == "drift" else file)
            shutil.copyfile(drift / file, target)
            reports[key] = str(target)
    if ended:
        shutil.copyfile(folder_of(name, check["report_id"]) / "report.html",
                        out_dir / "report.html")  # fmt: skip
        reports["evaluation"] = str(out_dir / "report.html")
    return {
        "drifted": check["drifted"],
        "reason": check["reason"],
        "windows": check["windows"],
        "report_id": check["report_id"],
        "new_examples": check.get("new_examples", 0),
        "labels": check.get("labels", 0),
        "retrained": bool(ended),
        "why_not": check.get("why_not", "") if check["drifted"] else "no drift",
        "decision": ended["decision"] if ended else None,
        "reports": reports,
    }


def _nothing(why: str) -> dict[str, Any]:
    return {
        "drifted": False,
        "reason": why,
        "windows": [],
        "report_id": "",
        "new_examples": 0,
        "labels": 0,
        "retrained": False,
        "why_not": why,
        "decision": None,
        "reports": {},
        "steps": [],
    }


@contextmanager
def _only_one(name: str) -> Iterator[bool]:
    """Whether this is the only check of the model on this machine. The system frees the lock when
    its holder ends, however it ends."""
    folder = store.writable_folder(store.home() / "monitoring" / name)
    with (folder / "monitor.lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
