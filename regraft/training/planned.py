"""Fine-tuning by a plan: the model becomes what the plan trains, and a plain one again after."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from regraft.training import processes
from regraft.training.checkpoints import kept_array
from regraft.training.inputs import ImageInputs, Views
from regraft.training.losses import MainLoss
from regraft.training.progressive import fine_tune
from regraft.training.sources import Data
from regraft.transfer import plans
from regraft.transfer.plans.surgical import relative_gradient_norms

MOST_BATCHES = 8
"""Batches that the gradient norms of a surgical plan are measured on."""
_BATCH = 32


def fine_tune_by_plan(
    model: Any,
    plan: dict[str, Any],
    *,
    data: Data,
    loss: MainLoss,
    work_dir: Path,
    seed: int,
    **how: Any,
) -> dict[str, Any]:
    """`fine_tune` through the stages of `plan` (its `kind` and options); `how` are the other
    arguments of `fine_tune`. The model that comes out has the names and shapes it came with.

    Raises
    ------
    UserError
        The plan does not fit the backbone, or as `fine_tune`.
    """
    plans.prepare(plan, model, seed=seed)
    stages = plans.stages_of(
        plan,
        len(model.encoder.blocks),
        gradient_norms=lambda: _measured_once(model, data.train, loss, work_dir),
    )
    history = fine_tune(model, stages, data=data, loss=loss, work_dir=work_dir, seed=seed, **how)
    plans.finish(plan, model)
    return history


def _measured_once(model: Any, train: Views, loss: MainLoss, work_dir: Path) -> list[float]:
    """A run that continues chooses the blocks that it began with."""
    norms = []
    if processes.is_first():
        file = work_dir / "gradient_norms.npy"
        kept = kept_array(file, lambda: np.array(gradient_norms(model, train, loss)))
        norms = [float(norm) for norm in kept]
    return processes.agreed(norms)


def gradient_norms(model: Any, train: Views, loss: MainLoss) -> list[float]:
    """Relative norm of the gradient of `loss` in every block, over view 0 of a regular sample of
    at most 8 batches of the training examples. Nothing moves."""
    model.eval()
    moving = {name: one.requires_grad for name, one in model.named_parameters()}
    model.requires_grad_(True)
    model.zero_grad(set_to_none=True)
    inputs = ImageInputs(train)
    n = min(len(train), MOST_BATCHES * _BATCH)
    chosen = np.linspace(0, len(train) - 1, n).astype(int)
    for start in range(0, n, _BATCH):
        _add_gradient(model, inputs, loss, chosen[start : start + _BATCH], n)
    norms = relative_gradient_norms(model.encoder)
    model.zero_grad(set_to_none=True)
    for name, one in model.named_parameters():
        one.requires_grad_(moving[name])
    return norms


def _add_gradient(
    model: Any, inputs: ImageInputs, loss: MainLoss, indices: np.ndarray, n: int
) -> None:
    views = np.zeros(len(indices), dtype=int)
    batch = [x.to(model.encoder.device) for x in inputs.batch(indices, views)]
    torch.manual_seed(0)  # mixed inputs are drawn
    mixed, wanted = loss.prepare(batch, indices, views)
    logits = model.head(inputs.embed(model.encoder, mixed))
    total = torch.stack(list(loss.losses(logits, wanted).values())).sum()
    (total * len(indices) / n).backward()
