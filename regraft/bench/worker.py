"""One measurement, in a process of its own.

A measurement that dies takes nothing with it, and none inherits what another one left in memory.
The heavy libraries are imported here, so that the processes are forked from one that has them.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from regraft.bench.prepared import Prepared
from regraft.recipe import Recipe
from regraft.steps import distill, finetune  # noqa: F401 (imported once for all measurements)
from regraft.training import planned, probe  # noqa: F401 (the same)


@dataclass(frozen=True)
class Job:
    """What is measured with which seed, and where.

    Attributes
    ----------
    shared : folder that measurements of the same split may read and write, one after the other.
    own : folder of this measurement alone.
    log : file that gets everything that is printed.
    """

    method: str
    options: dict[str, Any]
    overrides: dict[str, Any]
    seed: int
    shared: Path
    own: Path
    log: Path


def measured(job: Job) -> dict[str, Any]:
    """{"figures": what the method found, "cpu": {step: CPU seconds}}."""
    _print_to(job.log)
    os.environ["REGRAFT_HOME"] = str(job.own / "home")  # no cache of another measurement
    method = import_module(f"regraft.bench.{job.method}")
    prepared = Prepared(recipe_of(job), job.shared, job.own)
    figures = method.measure(prepared, **job.options)
    return {"figures": figures, "cpu": prepared.cpu}


def recipe_of(job: Job) -> Recipe:
    """The default recipe with the job's overrides; without a student unless they ask for one."""
    values: dict[str, Any] = {}
    fields = {"name": "bench", "seed": job.seed, "distillation.enabled": False} | job.overrides
    for dotted, value in fields.items():
        *parents, last = dotted.split(".")
        section = values
        for parent in parents:
            section = section.setdefault(parent, {})
        section[last] = value
    return Recipe.model_validate(values)


def _print_to(log: Path) -> None:
    """Standard output belongs to the results, standard error to the progress of the bench."""
    file = log.open("a", encoding="utf-8")
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
        os.dup2(file.fileno(), stream.fileno())
