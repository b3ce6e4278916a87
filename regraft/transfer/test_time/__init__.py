"""Adaptation when the model serves: what a batch of inputs, without labels, says of its domain.

Each kind has `adapt(model, batches)`, which returns an adapted copy; the model itself stays as it
was registered.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from regraft.errors import UserError

KINDS = ("batch_statistics", "tent", "centring")
OF_BATCH_NORM = ("batch_statistics", "tent")
FEWEST = 8
"""Inputs below which statistics of a batch say more of its content than of its domain."""


def adapt(kind: str, model: Any, batches: Sequence[torch.Tensor]) -> Any:
    """A copy of `model` (`.encoder`, `.head`) adapted to what it reads, in `batches`.

    Raises
    ------
    UserError
        Fewer inputs than `FEWEST`, or a network without batch norm where that is what changes.
    """
    if kind not in KINDS:
        raise KeyError(f"no test-time adaptation {kind!r}; there are {', '.join(KINDS)}")
    count = sum(len(batch) for batch in batches)
    if count < FEWEST:
        raise UserError(
            "too few inputs for test-time adaptation",
            got=str(count),
            expected=f"at least {FEWEST} at once",
            fix="ask about more inputs together, or predict without test-time adaptation",
        )
    check_adaptable(kind, model)
    changed = copy.deepcopy(model)
    adapted = import_module(f"{__name__}.{kind}").adapt(changed, batches)
    return adapted.eval()


def check_adaptable(kind: str, model: Any) -> None:
    """Raises `UserError` for a network without batch norm where that is what changes."""
    if kind in OF_BATCH_NORM and not norms(model):
        raise UserError(
            "the network has no batch norm, which test-time adaptation changes",
            got=type(model.encoder).__name__,
            fix="predict or serve without test-time adaptation",
        )


def norms(model: Any) -> list[_BatchNorm]:
    """Batch norms of the encoder that keep running statistics."""
    found = [m for m in model.encoder.modules() if isinstance(m, _BatchNorm)]
    return [norm for norm in found if norm.track_running_stats]
