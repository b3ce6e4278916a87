"""A packaged version proves itself: loaded in a process of its own, it answers its own example.

What works in the process that trained a model may miss a file, a package or a class when a server
loads it. `verify` starts `python -m regraft.registry.fresh_process FOLDER`, which is what a server
does: `mlflow.pyfunc.load_model`, then one prediction.
"""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import regraft
from regraft.errors import UserError
from regraft.evaluation.gate import Check
from regraft.registry import versions

NAME = "fresh process"
SECONDS = 300.0
_TOLD = 600  # characters of the process's last words


def verify(name: str, version: str, *, timeout_seconds: float = SECONDS) -> Check:
    """Whether a version loads and answers its own input example; never raises for what is broken.

    The check's `value` are the seconds it took, `limit` those it may take.
    """
    started = time.monotonic()
    try:
        with versions.package_folder(name, version) as folder:
            trouble = _trouble(folder, timeout_seconds)
    except (UserError, OSError) as error:
        trouble = " ".join(str(error).split())
    seconds = round(time.monotonic() - started, 1)
    if trouble:
        words = f"version {version} does not answer in a fresh process: {trouble}"
        return Check(NAME, False, seconds, timeout_seconds, words)
    words = f"loaded in a fresh process and answered its own example, {seconds:.0f} s in all"
    return Check(NAME, True, seconds, timeout_seconds, words)


def _trouble(folder: Path, timeout_seconds: float) -> str:
    """What went wrong, '' if nothing did."""
    with tempfile.TemporaryDirectory(prefix="regraft-fresh-") as work, (
        Path(work, "output").open("w+b")
    ) as output:  # fmt: skip
        process = subprocess.Popen(
            [sys.executable, "-m", __name__, str(folder)],
            cwd=work,  # nothing that lies about in the present folder may help
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            code = process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            return f"no answer within {timeout_seconds:g} s. {_last_words(output)}".strip()
        finally:
            process.kill()
            process.wait()
        if code < 0:
            return f"ended by {signal.Signals(-code).name}. {_last_words(output)}".strip()
        return _last_words(output) or f"exit code {code}" if code else ""


def _environment() -> dict[str, str]:
    """This process's, without what is meant for it alone; regraft is found from any folder."""
    mine = {"REGRAFT_PROGRESS", "REGRAFT_STEP_RECORDS", "MLFLOW_RUN_ID"}
    kept = {key: value for key, value in os.environ.items() if key not in mine}
    paths = [str(Path(regraft.__file__).parents[1]), kept.get("PYTHONPATH", "")]
    return kept | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}


def _last_words(output: IO[bytes]) -> str:
    output.seek(0)
    lines = output.read().decode(errors="replace").strip().splitlines()
    return lines[-1].strip()[:_TOLD] if lines else ""


def answer_example(folder: Path) -> None:
    """Load the MLflow model in `folder` and let it answer its example. Raises whatever is wrong."""
    import mlflow.pyfunc
    from mlflow.models import Model

    card = Model.load(str(folder))
    example = card.load_input_example(str(folder))
    if example is None or not len(example):
        raise ValueError("the package has no input example")
    schema = card.get_output_schema()
    model = mlflow.pyfunc.load_model(str(folder))
    check_answers(model.predict(example), len(example), schema.input_names() if schema else [])


def check_answers(answers: Any, count: int, names: Sequence[str]) -> None:
    """Raise ValueError unless there are `count` answers, each with `names` and finite numbers."""
    if not isinstance(answers, Sequence) or len(answers) != count:
        raise ValueError(f"{count} examples should have {count} answers, got {answers!r}")
    for answer in answers:
        if not isinstance(answer, Mapping):
            raise ValueError(f"an answer should be a mapping, got {answer!r}")
        missing = [name for name in names if name not in answer]
        if missing:
            raise ValueError(f"an answer lacks {', '.join(missing)}: {answer!r}")
        wrong = [value for value in _numbers(answer) if not math.isfinite(value)]
        if wrong:
            raise ValueError(f"an answer holds {wrong[0]}: {answer!r}")


def _numbers(value: Any) -> list[float]:
    if isinstance(value, Mapping):
        return [number for part in value.values() for number in _numbers(part)]
    return [float(value)] if isinstance(value, (int, float)) else []


if __name__ == "__main__":
    answer_example(Path(sys.argv[1]))
