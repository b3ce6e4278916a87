"""Kubeflow's local runner with our console, our records and our errors round it."""

from __future__ import annotations

import builtins
import contextlib
import json
import logging
import os
import re
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regraft.data.files import claimed_folder
from regraft.errors import UserError
from regraft.registry import store
from regraft.steps.hardware import PROCESS_ENVIRONMENT

if TYPE_CHECKING:
    from pipelines.containers import Containers

_RESULTS = ("summary.json", "report.html", "model_card.md", "drift.html", "to_label.csv")
_IMAGE_WARNING = "You may be attemping to run a task that uses custom or non-Python base image"


class StepError(RuntimeError):
    """A step failed for a reason that is not the user's input."""


@contextlib.contextmanager
def claimed(out_dir: Path) -> Iterator[Path]:
    """The folder of the step records, with what an earlier run left in `out_dir` removed, so that a
    failed run cannot be taken for it. One run at a time writes to a folder."""
    records = out_dir / "records"

    def prepare() -> None:
        records.mkdir(exist_ok=True)
        for old in [*records.glob("*.json"), *(out_dir / name for name in _RESULTS)]:
            old.unlink(missing_ok=True)
        (out_dir / "log.txt").write_text("")

    with claimed_folder(out_dir, "run", prepare):
        yield records


@contextlib.contextmanager
def local_runner(
    out_dir: Path, records: Path, log: Path, n_steps: int, *, cached: bool,
    containers: Containers | None = None,
) -> Iterator[None]:  # fmt: skip
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
    own_cache = store.home() / "step_cache"
    console = Console(log, n_steps)
    hits = logging.StreamHandler(console)  # the runner says only by logging what it skipped
    try:
        os.environ.update(environment)
        logger.addHandler(hits)
        logger.setLevel(logging.INFO)
        with (
            contextlib.redirect_stdout(console),
            tempfile.TemporaryDirectory() as workspace,
            warnings.catch_warnings(),
        ):
            # said of every image without "python" in its name, though this runner uses none
            warnings.filterwarnings("ignore", _IMAGE_WARNING, RuntimeWarning)
            local.init(
                containers.runner(environment)
                if containers
                else local.SubprocessRunner(use_venv=False),
                pipeline_root=str(out_dir / "pipeline"),
                workspace_root=workspace,
                enable_caching=cached,
                cache_root=str(containers.cache_root if containers else own_cache),
            )
            with containers.removed() if containers else contextlib.nullcontext():
                yield
    finally:
        console.close()
        builtins.print = printer
        logger.removeHandler(hits)
        logger.setLevel(level)
        for key, value in before.items():
            os.environ.pop(key) if value is None else os.environ.update({key: value})


def run_pipeline(
    pipeline: Any, arguments: dict[str, Any], out_dir: Path, records: Path, n_steps: int,
    *, cached: bool, containers: Containers | None = None,
) -> Any:  # fmt: skip
    """Kubeflow's record of the run; steps are processes, or in `containers`.

    Raises what the step that failed raised.
    """
    log = out_dir / "log.txt"
    with local_runner(out_dir, records, log, n_steps, cached=cached, containers=containers):
        try:
            task = pipeline(**arguments)
        except RuntimeError as error:
            raise own_error(records, log) from error
    if lost := _ended_without_a_word(records, log):
        raise own_error(records, log, lost)
    return task


def _ended_without_a_word(records: Path, log: Path) -> str:
    """The first step that was started and left no record, or an empty string. The runner takes a
    container that vanished for one that succeeded. Numbers of steps that run more than once do not
    count."""
    left = {_without_number(path.stem) for path in records.glob("*.json")}
    return next((name for name in _started(log) if _without_number(name) not in left), "")


def _without_number(step: str) -> str:
    return re.sub(r"_\d+$", "", step)


def own_error(records: Path, log: Path, lost: str = "") -> Exception:
    """The error of the step itself, which the runner does not pass on; `lost` names a step that
    is known to have ended without one."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in records.glob("*.json")]
    failed = [record for record in found if record["status"] == "failed"]
    if not failed:
        name = lost or next(reversed(_started(log)), "(none was started)")
        return StepError(
            f"step {name} ended without a word (killed, or out of memory?)\n"
            f"  the whole output is in {log}; the same command continues there"
        )
    record = failed[0]
    if record["user_error"]:
        return UserError(record["error"])
    return StepError(
        f"step {record['name']} failed with {record['error_type']}: {record['error']}\n"
        f"  the whole output is in {log}; after mending it, the same command continues there"
    )


def _started(log: Path) -> list[str]:
    from pipelines.console import STARTED

    text = log.read_text(encoding="utf-8") if log.is_file() else ""
    return [name.replace("-", "_") for name in STARTED.findall(text)]


def step_table(records: Path, steps: list[str]) -> list[dict[str, Any]]:
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


def cpu_seconds() -> float:
    """Of this process and its children so far."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
