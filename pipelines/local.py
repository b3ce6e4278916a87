"""Run the training pipeline on this machine, through Kubeflow's local runner."""

from __future__ import annotations

import builtins
import contextlib
import fcntl
import json
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from regraft.errors import UserError
from regraft.recipe import Recipe
from regraft.registry import store
from regraft.steps.hardware import PROCESS_ENVIRONMENT

STEPS = [
    "data_validation",
    "feature_extraction",
    "domain_shift_detection",
    "progressive_finetune",
    "distillation",
    "evaluation",
    "registration",
]


_RESULTS = ("summary.json", "report.html", "model_card.md")


class StepError(RuntimeError):
    """A step failed for a reason that is not the user's input."""


def run_training(recipe: Recipe, out_dir: Path, *, cached: bool = True) -> dict[str, Any]:
    """Run all steps and write summary.json into `out_dir`; returns the summary.

    Steps whose inputs, options and code are unchanged are taken from the cache, so a run after a
    failure continues with the step that failed; with `cached` false nothing is taken from there.

    Raises
    ------
    UserError
        A step refused the user's input; the message is the step's own.
    StepError
        A step failed otherwise; the message is the step's own and names the log.
    """
    from pipelines.arguments import training_arguments
    from pipelines.training import training_pipeline

    started, cpu_before = time.time(), _cpu_seconds()
    arguments = training_arguments(recipe)
    with_student = recipe.distillation.enabled
    steps = [step for step in STEPS if with_student or step != "distillation"]
    pipeline = training_pipeline(with_student=with_student)
    store.writable_folder(store.home())
    log = out_dir / "log.txt"
    with _claimed(out_dir) as records:
        with _local_runner(out_dir, records, log, len(steps), cached=cached):
            try:
                task = pipeline(**arguments)
            except RuntimeError as error:
                raise _own_error(records, log) from error
        summary = {
            "recipe": recipe.name,
            "code_version": arguments["code_version"],
            "data_version": arguments["data_version"],
            **_outputs(task, out_dir),
            "steps": _step_table(records, steps),
            "seconds": round(time.time() - started, 2),
            "cpu_seconds": round(_cpu_seconds() - cpu_before, 2),
        }
        (out_dir / "summary.json").write_text(json.dumps(summary, indent=2), encoding="utf-8")
    return summary


@contextlib.contextmanager
def _claimed(out_dir: Path) -> Iterator[Path]:
    """The folder of the step records, with what an earlier run left in `out_dir` removed, so that a
    failed run cannot be taken for it. One run at a time writes to a folder."""
    records = out_dir / "records"
    try:
        records.mkdir(parents=True, exist_ok=True)
        lock = (out_dir / ".lock").open("w")
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for old in [*records.glob("*.json"), *(out_dir / name for name in _RESULTS)]:
            old.unlink(missing_ok=True)
        (out_dir / "log.txt").write_text("")
    except BlockingIOError as error:
        raise UserError(
            "another run is writing to this folder",
            where=str(out_dir),
            fix="wait for it, or choose another folder with --out",
        ) from error
    except OSError as error:
        raise UserError(
            "the output folder cannot be written",
            where=str(out_dir),
            got=error.strerror or str(error),
            fix="choose another one with --out",
        ) from error
    with lock:
        yield records


@contextlib.contextmanager
def _local_runner(
    out_dir: Path, records: Path, log: Path, n_steps: int, *, cached: bool
) -> Iterator[None]:
    """kfp.local with our console in place of its output; everything it changes is restored."""
    from kfp import local

    from pipelines.console import Console

    logger, level, printer = logging.getLogger(), logging.getLogger().level, builtins.print
    environment = {
        "REGRAFT_STEP_RECORDS": str(records.absolute()),
        "REGRAFT_PROGRESS": "json",
        "REGRAFT_HOME": str(store.home().absolute()),
        **PROCESS_ENVIRONMENT,
    }
    before = {key: os.environ.get(key) for key in environment}
    console = Console(log, n_steps)
    hits = logging.StreamHandler(console)  # the runner says only by logging what it skipped
    try:
        os.environ.update(environment)
        logger.addHandler(hits)
        logger.setLevel(logging.INFO)
        with contextlib.redirect_stdout(console), tempfile.TemporaryDirectory() as workspace:
            local.init(
                local.SubprocessRunner(use_venv=False),
                pipeline_root=str(out_dir / "pipeline"),
                workspace_root=workspace,
                enable_caching=cached,
                cache_root=str(store.home() / "step_cache"),
            )
            yield
    finally:
        console.close()
        builtins.print = printer
        logger.removeHandler(hits)
        logger.setLevel(level)
        for key, value in before.items():
            os.environ.pop(key) if value is None else os.environ.update({key: value})


def _own_error(records: Path, log: Path) -> Exception:
    """The error of the step itself, which the runner does not pass on."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in records.glob("*.json")]
    failed = [record for record in found if record["status"] == "failed"]
    if not failed:
        return StepError(
            f"step {_last_started(log)} ended without a word (killed, or out of memory?)\n"
            f"  the whole output is in {log}; the same command continues there"
        )
    record = failed[0]
    if record["user_error"]:
        return UserError(record["error"])
    return StepError(
        f"step {record['name']} failed with {record['error_type']}: {record['error']}\n"
        f"  the whole output is in {log}; after mending it, the same command continues there"
    )


def _last_started(log: Path) -> str:
    from pipelines.console import STARTED

    started = STARTED.findall(log.read_text(encoding="utf-8")) if log.is_file() else []
    return started[-1].replace("-", "_") if started else "(none was started)"


def _step_table(records: Path, steps: list[str]) -> list[dict[str, Any]]:
    """One row per step; a step that left no record was taken from the cache."""
    table = []
    for name in steps:
        path = records / f"{name}.json"
        row = {
            "name": name,
            "status": "done",
            "seconds": 0.0,
            "cpu_seconds": 0.0,
            "cached": not path.is_file(),
        }
        table.append(row | (json.loads(path.read_text()) if path.is_file() else {}))
    return table


def _outputs(run: Any, out_dir: Path) -> dict[str, Any]:
    """Metrics, decision and where the reports are; the report itself is copied beside them."""
    folders = {name: Path(artifact.path) for name, artifact in run.outputs.items()}
    metrics = json.loads((folders["measured"] / "metrics.json").read_text(encoding="utf-8"))
    decision = json.loads((folders["decision"] / "decision.json").read_text(encoding="utf-8"))
    shutil.copyfile(folders["decision"] / "report.html", out_dir / "report.html")
    shutil.copyfile(folders["measured"] / "model_card.md", out_dir / "model_card.md")
    return {
        "served": decision["served"],
        "metrics": metrics,
        "decision": decision,
        "shift": json.loads((folders["verdict"] / "shift.json").read_text(encoding="utf-8")),
        "reports": {
            "evaluation": str(out_dir / "report.html"),
            "model_card": str(out_dir / "model_card.md"),
            "data_docs": str(folders["dataset"] / "data_docs" / "index.html"),
            "quarantine": str(folders["dataset"] / "quarantine.csv"),
            "shift": str(folders["verdict"] / "shift_evidently.html"),
        },
        "artifacts": {name: str(folder) for name, folder in folders.items()},
    }


def _cpu_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
