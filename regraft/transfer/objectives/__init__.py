"""Objectives: what is minimised. The extra terms are found by `kind`, the name of the file.

Losses of a batch (classification, distillation) and mixtures of inputs (mixup, cutmix) are plain
functions. The terms are modules, because some remember the start or learn parameters of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

from torch import nn

from regraft.errors import UserError

KINDS = (
    "l2_sp",
    "ewc",
    "lwf",
    "dann",
    "cdan",
    "mcc",
    "coral",
    "mmd",
    "drcn",
    "entropy",
    "pseudo_label",
    "supervised_contrast",
    "cross_modal",
    "gloss",
    "feature_hint",
)


def build_objectives(options: Sequence[dict[str, Any]]) -> nn.ModuleDict:
    """{kind: term} of the terms whose strength is not 0, in their order; `begin` is still to come.

    Raises
    ------
    UserError
        A kind is asked for twice.

    >>> list(build_objectives([{"kind": "mcc", "strength": 1.0}, {"kind": "mmd", "strength": 0.0}]))
    ['mcc']
    """
    terms = nn.ModuleDict()
    for option in options:
        own = dict(option)
        kind, strength = own.pop("kind"), own.pop("strength")
        if kind not in KINDS:
            raise KeyError(f"no objective of kind {kind!r}; there are {', '.join(KINDS)}")
        if kind in terms:
            raise UserError(
                "an objective is asked for twice",
                where="finetune.objectives",
                got=kind,
                fix="add their strengths and keep one",
            )
        if strength > 0:
            terms[kind] = import_module(f"{__name__}.{kind}").Term(**own)
    return terms
