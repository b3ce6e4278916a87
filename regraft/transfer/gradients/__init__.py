"""Gradients: from the losses of a step to the gradient that moves the weights.

A combination never writes a gradient itself. It measures (with `torch.autograd.grad`), turns what
it measured into one number per loss, and hands one weighted sum to the engine's `backward`. PCGrad
and A-GEM allow this because a projected gradient is a linear combination of the gradients it was
made from. So what `backward` does holds as it does for the plain sum: accumulation into `.grad`,
division by the accumulated steps, loss scaling, and the one reduction over processes that
`DistributedDataParallel` makes per forward pass. Measurements are averaged over processes, so
that all of them choose the same numbers. PCGrad and A-GEM pay with one backward pass more than
there are gradients to compare; GradNorm measures one layer only, uncertainty weighting none.

Measurements are not scaled: under bfloat16 autocast nothing changes, under float16 with loss
scaling a gradient may be measured as 0 that the scaled pass would have seen.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, Protocol

import torch
from torch.nn import Parameter

KINDS = ("sum", "pcgrad", "gradnorm", "uncertainty", "agem")


class Combination(Protocol):
    """What every kind offers.

    `needs_memory` says that it works on the loss of replayed old examples, "memory".
    """

    needs_memory: bool

    def backward(
        self,
        losses: dict[str, torch.Tensor],
        parameters: list[Parameter],
        backward: Callable[[torch.Tensor], None],
    ) -> None:
        """Add the combined gradient of `losses` to the `.grad` that is there.

        Parameters
        ----------
        losses : scalars by name; the main ones are "label" or "label:<task>".
        parameters : those whose gradients are compared, in the order of depth; a loss need not
            reach all of them.
        backward : runs one backward pass, as `accelerator.backward` does.
        """

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


def build_gradients(options: dict[str, Any], *, seed: int = 0) -> Combination:
    """The combination of a kind; `seed` is for those that draw."""
    options = dict(options)
    kind = options.pop("kind")
    if kind not in KINDS:
        raise KeyError(f"no combination of gradients {kind!r}; there are {', '.join(KINDS)}")
    if kind == "pcgrad":
        options["seed"] = seed
    found: Combination = import_module(f"{__name__}.{kind}").Combination(**options)
    return found
