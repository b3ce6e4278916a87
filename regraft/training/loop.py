"""One stage of training: epochs over batches, validated and checkpointed after each.

All randomness of an epoch follows from (seed, stage, epoch), and the learning rate from the step,
so a run that was killed and resumed equals the run that was not.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from regraft.errors import UserError
from regraft.progress import track
from regraft.transfer.rates import warmup_cosine

if TYPE_CHECKING:
    from accelerate import Accelerator

    from regraft.training.inputs import Inputs


class StageModule(nn.Module):
    """What is wrapped for several processes: a batch in, logits out."""

    def __init__(self, model: Any, inputs: Inputs) -> None:
        super().__init__()
        self.model = model
        self._inputs = inputs

    def forward(self, batch: list[torch.Tensor]) -> torch.Tensor:
        logits: torch.Tensor = self.model.head(self._inputs.embed(self.model.encoder, batch))
        return logits


def run_epoch(
    module: nn.Module,
    optimiser: torch.optim.Optimizer,
    accelerator: Accelerator,
    inputs: Inputs,
    step_loss: Callable[[nn.Module, list[torch.Tensor], np.ndarray, np.ndarray], torch.Tensor],
    *,
    n_examples: int,
    batch_size: int,
    epoch: int,
    n_epochs: int,
    warmup_fraction: float,
    clip_norm: float,
    seed: tuple[int, int],
    description: str,
) -> dict[str, Any]:
    """Train one epoch (0-based) and return its mean loss, seconds and peak rates.

    `step_loss(module, batch, indices, views)` returns the scalar to minimise.

    Raises
    ------
    UserError
        The loss became NaN or infinite; the weights of the last good epoch are in the checkpoint.
    """
    rng = np.random.default_rng((*seed, epoch))
    torch.manual_seed(int(rng.integers(2**62)))
    order = rng.permutation(n_examples)
    views = _views_of_epoch(inputs.n_views, n_examples, epoch)
    batches = [order[i : i + batch_size] for i in range(0, n_examples, batch_size)]
    total = n_epochs * len(batches)
    losses: list[float] = []
    started = time.monotonic()
    module.train()
    for number, chosen in enumerate(track(batches, description, total=len(batches))):
        step = epoch * len(batches) + number
        _set_rates(optimiser, step, total, round(total * warmup_fraction))
        mine = chosen[accelerator.process_index :: accelerator.num_processes]
        batch = [part.to(accelerator.device) for part in inputs.batch(mine, views[mine])]
        loss = step_loss(module, batch, mine, views[mine])
        _refuse_divergence(float(loss.detach()), step)
        optimiser.zero_grad()
        accelerator.backward(loss)
        if clip_norm:
            accelerator.clip_grad_norm_(module.parameters(), clip_norm)
        optimiser.step()
        losses.append(float(loss.detach()))
    rates = {group["name"]: group["peak_rate"] for group in optimiser.param_groups}
    return {
        "epoch": epoch + 1,
        "train_loss": float(np.mean(losses)),
        "seconds": round(time.monotonic() - started, 3),
        "learning_rates": rates,
    }


def _views_of_epoch(n_views: int, n_examples: int, epoch: int) -> np.ndarray:
    """Which view of each example this epoch shows: they take turns, or are new each epoch."""
    if n_views == 0:
        return np.full(n_examples, epoch + 1)
    return (np.arange(n_examples) + epoch) % n_views


def _set_rates(optimiser: torch.optim.Optimizer, step: int, total: int, warmup: int) -> None:
    factor = warmup_cosine(step, total=total, warmup=warmup)
    for group in optimiser.param_groups:
        group["lr"] = group["peak_rate"] * factor


def _refuse_divergence(loss: float, step: int) -> None:
    if not math.isfinite(loss) or loss > 1e4:
        raise UserError(
            "training diverged",
            where=f"step {step + 1}",
            got=f"loss {loss}",
            expected="a finite loss",
            fix="lower the learning rate (finetune.optimiser.learning_rate or "
            "distillation.learning_rate) or raise warmup_fraction; the weights of the last good "
            "epoch are kept in the checkpoint",
        )


@torch.inference_mode()
def validation_logits(model: Any, inputs: Inputs, n_examples: int) -> np.ndarray:
    """Logits (n, classes) of view 0 of every example."""
    model.eval()
    found = []
    for start in range(0, n_examples, 64):
        indices = np.arange(start, min(start + 64, n_examples))
        views = np.zeros(len(indices), dtype=int)
        batch = [part.to(model.encoder.device) for part in inputs.batch(indices, views)]
        found.append(model.head(inputs.embed(model.encoder, batch)).float().cpu().numpy())
    return np.concatenate(found)
