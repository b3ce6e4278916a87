"""Plans: which blocks train in which stage. Found by `kind`, the name of the file."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from regraft.transfer.stage import Stage

KINDS = (
    "head_only",
    "last_n",
    "gradual_unfreezing",
    "linear_probe_fine_tune",
    "surgical",
    "norm_bias",
    "lora",
    "full",
    "scratch",
)


def stages_of(plan: dict[str, Any], n_blocks: int) -> list[Stage]:
    """The stages after the probe of the head, for a backbone of `n_blocks` blocks."""
    options = dict(plan)
    kind = options.pop("kind")
    if kind not in KINDS:
        raise KeyError(f"no plan of kind {kind!r}; there are {', '.join(KINDS)}")
    stages: list[Stage] = import_module(f"{__name__}.{kind}").stages(n_blocks, **options)
    return stages
