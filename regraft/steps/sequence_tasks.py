"""Which tasks a sequence consists of: as the recipe names them, or by the names of the classes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from regraft.data.readers import list_examples, nearest
from regraft.errors import UserError


@dataclass(frozen=True)
class TaskPlan:
    """A task with its classes and the domain folder they are in ('' without domains)."""

    name: str
    classes: list[str]
    domain: str


def planned_tasks(data: dict[str, Any], options: dict[str, Any]) -> list[TaskPlan]:
    """The tasks in order. `data` and `options` are fields of the sections data and sequence.

    Raises
    ------
    UserError
        Fewer than two tasks, a task without classes, or one class of one domain in two tasks.
    """
    given = options["tasks"] or _groups(data, options["order"])
    if len(given) < 2:
        raise UserError(
            "a sequence needs two tasks",
            where="sequence.tasks",
            got=", ".join(one["name"] for one in given) or "none",
            expected="two or more, or classes named like apple_scab and tomato_blight",
        )
    tasks = [_task(data, one) for one in given]
    names = [one.name for one in tasks]
    pairs = [(one.domain, name) for one in tasks for name in one.classes]
    for what, found in (("task", names), ("class", pairs)):
        twice = sorted({str(one) for one in found if found.count(one) > 1})  # type: ignore[arg-type]
        if twice:
            raise UserError(f"a {what} comes twice", where="sequence.tasks", got=", ".join(twice))
    return tasks


def _groups(data: dict[str, Any], order: list[str]) -> list[dict[str, Any]]:
    found = sorted({_prefix(name) for name in _classes(data, data["source_domain"])})
    unknown = [name for name in order if name not in found]
    if unknown:
        raise UserError(
            f"no class begins with {unknown[0]}_",
            where="sequence.order",
            got=nearest(unknown[0], found) or "no classes",
            expected="what class names say before the first _",
        )
    return [{"name": name, "classes": [], "domain": ""} for name in order or found]


def _task(data: dict[str, Any], one: dict[str, Any]) -> TaskPlan:
    domain = one["domain"] or data["source_domain"]
    known = _classes(data, domain)
    classes = one["classes"] or [name for name in known if _prefix(name) == one["name"]]
    unknown = [name for name in classes if name not in known]
    if unknown or not classes:
        raise UserError(
            f"the task {one['name']} has classes that are not there"
            if unknown
            else f"the task {one['name']} has no classes",
            where="sequence.tasks",
            got=", ".join(unknown) or "none",
            expected=f"of {nearest((unknown or [one['name']])[0], known)}",
        )
    return TaskPlan(one["name"], classes, domain)


def _classes(data: dict[str, Any], domain: str) -> list[str]:
    listing = list_examples(Path(data["root"]), source_domain=domain, target_domain="", classes=[])
    found = sorted({name for _, name in listing.attrs["classes"]})
    return [name for name in found if not data["classes"] or name in data["classes"]]


def _prefix(name: str) -> str:
    return name.partition("_")[0]
