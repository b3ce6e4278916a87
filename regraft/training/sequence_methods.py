"""How a further task of a sequence is learned: what each method adds to plain fine-tuning.

replay    DER++ (Buzzega et al., NeurIPS 2020) where blocks move, and the head refitted on
          remembered and new examples (decoupled classifier: Kang et al., ICLR 2020; a few balanced
          examples go far: GDumb, Prabhu et al., ECCV 2020)
naive     fine-tuning on the new task alone: the bound below
joint     all tasks so far at once, from the pre-trained weights: the bound above
ewc, lwf, l2_sp   the term of that name (regraft/transfer/objectives)
a_gem     the projection of that name against remembered examples (Chaudhry et al., ICLR 2019)
wise_ft   weights half-way between before and after the task (regraft/transfer/averaging)

>>> base = Ports(replay={"size": 0, "choice": "class_balanced", "batch_size": 16,
...                      "alpha": 0.5, "beta": 0.5})
>>> METHODS["a_gem"].ports(base, remembered=40).replay["size"]
40
>>> METHODS["naive"].ports(base, remembered=40) == base
True
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from regraft.training.ports import Ports


@dataclass(frozen=True)
class Method:
    """One way to learn a further task.

    Attributes
    ----------
    refits : the head is fitted in closed form on remembered and new examples; else its rows of new
        classes begin at zero and are trained by gradient.
    everything : all examples of all tasks so far are there, and the pre-trained weights.
    remembers : the remembered examples are read while the model is trained.
    holds_backbone : it does nothing where no block moves.
    replay : options of the replay; {} leaves it off.
    """

    refits: bool = False
    everything: bool = False
    remembers: bool = False
    holds_backbone: bool = False
    objective: Mapping[str, Any] = field(default_factory=dict)
    gradients: Mapping[str, Any] = field(default_factory=dict)
    averaging: Mapping[str, Any] = field(default_factory=dict)
    replay: Mapping[str, Any] | None = None

    def ports(self, base: Ports, *, remembered: int) -> Ports:
        """The ports of the recipe with those of the method. An option that the recipe itself
        gives for the method's term or average is kept."""
        found = base
        if self.objective and not _has(base.objectives, self.objective["kind"]):
            found = replace(found, objectives=[*base.objectives, dict(self.objective)])
        if self.averaging and not _has(base.averaging, self.averaging["kind"]):
            found = replace(found, averaging=[*base.averaging, dict(self.averaging)])
        if self.gradients:
            found = replace(found, gradients=dict(self.gradients))
        if self.replay is not None:
            found = replace(found, replay={**base.replay, **self.replay, "size": remembered})
        return found


def _has(options: Any, kind: str) -> bool:
    return any(one["kind"] == kind for one in options)


METHODS: dict[str, Method] = {
    "replay": Method(refits=True, remembers=True, replay={}),
    "naive": Method(),
    "joint": Method(refits=True, everything=True),
    "ewc": Method(
        remembers=True,
        holds_backbone=True,
        objective={"kind": "ewc", "strength": 0.1, "examples": 256, "batch_size": 1},
    ),
    "lwf": Method(objective={"kind": "lwf", "strength": 1.0, "temperature": 2.0}),
    "l2_sp": Method(holds_backbone=True, objective={"kind": "l2_sp", "strength": 0.1}),
    "a_gem": Method(remembers=True, gradients={"kind": "agem"}, replay={"alpha": 0.0, "beta": 1.0}),
    "wise_ft": Method(averaging={"kind": "wise_ft", "alpha": 0.5}),
}
