"""Plans: which blocks train in which stage. Found by `kind`, the name of the file.

Every file gives `stages`; one that changes the model before the first stage also gives `prepare`,
and one that must change it back after the last gives `finish`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from types import ModuleType
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


def stages_of(
    plan: dict[str, Any],
    n_blocks: int,
    *,
    gradient_norms: Callable[[], Sequence[float]] | None = None,
) -> list[Stage]:
    """The stages after the probe of the head, for a backbone of `n_blocks` blocks.

    `gradient_norms()` measures the relative gradient norm of every block on the training data; it
    is called for `surgical` only, which cannot do without.
    """
    module, options = _module_of(plan)
    stages: list[Stage]
    if plan["kind"] == "surgical":
        if gradient_norms is None:
            raise ValueError("the plan `surgical` needs the gradient norms of the blocks")
        stages = module.stages_from_gradients(n_blocks, gradient_norms(), **options)
    else:
        stages = module.stages(n_blocks, **options)
    return stages


def prepare(plan: dict[str, Any], model: Any, *, seed: int) -> None:
    """Make `model` what the plan trains (adapters, fresh weights), in place; again on resume."""
    module, options = _module_of(plan)
    if hasattr(module, "prepare"):
        module.prepare(model, seed=seed, **options)


def finish(plan: dict[str, Any], model: Any) -> None:
    """Make `model` a plain one again, in place, with the same outputs; before it is saved."""
    module, _ = _module_of(plan)
    if hasattr(module, "finish"):
        module.finish(model)


def _module_of(plan: dict[str, Any]) -> tuple[ModuleType, dict[str, Any]]:
    options = dict(plan)
    kind = options.pop("kind")
    if kind not in KINDS:
        raise KeyError(f"no plan of kind {kind!r}; there are {', '.join(KINDS)}")
    return import_module(f"{__name__}.{kind}"), options
