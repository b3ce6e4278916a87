"""Options of a task sequence: which tasks in which order, and how the old ones are kept."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from regraft.recipe.base import Options
from regraft.recipe.plans import HeadOnly, PlanWithoutData


class SequenceTask(Options):
    """One task: a group of classes that become known together."""

    name: str
    """What the tables call it."""
    classes: list[str] = []
    """Its classes; empty takes those whose name begins with the task's name and `_`."""
    domain: str = ""
    """The domain folder they are in; empty takes data.source_domain."""


class SequenceOptions(Options):
    """Tasks that are learned one after the other by one model with a growing head, which is not
    told the task when it answers (`regraft sequence`)."""

    tasks: list[SequenceTask] = []
    """The tasks in order; empty groups the classes by what their names say before the first
    `_`."""
    order: list[str] = []
    """Without `tasks`: the names of the groups in order; empty takes all of them by alphabet."""
    method: Literal["replay", "naive", "joint", "ewc", "lwf", "l2_sp", "a_gem", "wise_ft"] = (
        "replay"
    )
    """How a further task is learned. `replay` fits the head on new and remembered examples, and
    where the plan moves blocks these are replayed with DER++. The others continue on the new
    examples alone: as they are (`naive`, the bound below), held by a term of the loss, by a
    projection against the remembered examples (`a_gem`) or by averaged weights (`wise_ft`).
    `joint` learns all tasks so far at once (the bound above)."""
    bounds: bool = True
    """Whether `naive` and `joint` are trained beside the method."""
    memory_per_class: int = Field(default=20, ge=1)
    """How many training examples of each class are remembered when its task is over."""
    plan: PlanWithoutData = HeadOnly()
    """Which blocks move in each task, by the rates of finetune.optimiser."""
    head_epochs: int = Field(default=10, ge=1)
    """How long methods that continue on the new examples alone train the grown head first."""
    head_learning_rate: float = Field(default=1e-2, gt=0)
    """The rate of that: rows of new classes begin at zero."""
