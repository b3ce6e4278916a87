"""One epoch of training over batches, and the answers on validation examples.

All randomness of an epoch follows from (seed, stage, epoch), and the learning rate from the step,
so a run that was killed and resumed equals the run that was not.
"""

from __future__ import annotations

import math
import time
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from regraft.errors import UserError
from regraft.progress import track
from regraft.training import processes
from regraft.training.inputs import Inputs
from regraft.training.losses import MainLoss, Tensors
from regraft.training.optimisation import Optimisation
from regraft.training.ports import Filled
from regraft.training.sources import Sources
from regraft.training.stage_module import Parts, Remembered
from regraft.transfer.batches import Sampler
from regraft.transfer.gradients.clipping import clip
from regraft.transfer.rates import warmup_cosine

if TYPE_CHECKING:
    from accelerate import Accelerator


@dataclass(frozen=True)
class StageLoop:
    """What stays the same over the epochs of a stage.

    Attributes
    ----------
    module : a `StageModule` around `model`, prepared by the accelerator.
    seed : of the run, and the number of the stage.
    """

    module: nn.Module
    model: Any
    optimiser: torch.optim.Optimizer
    accelerator: Accelerator
    sources: Sources
    loss: MainLoss
    sampler: Sampler
    ports: Filled
    how: Optimisation
    n_epochs: int
    seed: tuple[int, int]
    name: str


class Diverged(UserError):
    """The loss became NaN or infinite."""


def run_epoch(loop: StageLoop, epoch: int) -> dict[str, Any]:
    """Train one epoch (0-based) and return its mean losses, seconds and peak rates.

    Raises
    ------
    Diverged
        The loss became NaN or infinite; the weights of the last good epoch are in the checkpoint.
    """
    rng = np.random.default_rng((*loop.seed, epoch))
    torch.manual_seed(int(rng.integers(2**62)))
    order = loop.sampler.order(epoch, rng)
    size = loop.how.batch_size
    batches = [order[i : i + size] for i in range(0, len(order), size)]
    total = loop.n_epochs * len(batches)
    warmup = round(total * loop.how.warmup_fraction)
    parts = PartsOfEpoch(loop, epoch, len(batches))
    found: list[dict[str, float]] = []
    started = time.monotonic()
    loop.module.train()
    description = f"{loop.name}, epoch {epoch + 1}/{loop.n_epochs}"
    for number, chosen in enumerate(track(batches, description, total=len(batches))):
        step = epoch * len(batches) + number
        _set_rates(loop.optimiser, warmup_cosine(step, total=total, warmup=warmup))
        found.append(take_step(loop, parts.of(number, chosen, step / total), number, len(batches)))
    means = {name: float(np.mean([one[name] for one in found])) for name in found[0]}
    rates = {group["name"]: group["peak_rate"] for group in loop.optimiser.param_groups}
    record = {
        "epoch": epoch + 1,
        "train_loss": sum(means.values()),
        "seconds": round(time.monotonic() - started, 3),
        "learning_rates": rates,
    }
    return record | ({"losses": means} if len(means) > 1 else {})


def take_step(loop: StageLoop, parts: Parts, number: int, n_batches: int) -> dict[str, float]:
    """Forward and backward of one batch; the weights move when enough batches were added up."""
    every = loop.how.accumulation_steps
    first = number - number % every
    last = min(first + every, n_batches) - 1
    if number == first:
        loop.optimiser.zero_grad()
    share = last - first + 1
    own = nullcontext() if number == last else loop.accelerator.no_sync(loop.module)
    with own:
        losses: Tensors = loop.module(parts)
        values = processes.mean({name: float(loss.detach()) for name, loss in losses.items()})
        _refuse_divergence(sum(values.values()), number)
        loop.ports.combination.backward(
            losses,
            [p for p in loop.module.parameters() if p.requires_grad],
            lambda total: loop.accelerator.backward(total if share == 1 else total / share),
        )
    if number == last:
        _move(loop)
    return values


def _move(loop: StageLoop) -> None:
    if loop.how.clip_norm or loop.how.clip_value:
        for part in (loop.model, loop.ports.terms):
            moving = [one for one in part.parameters() if one.grad is not None]
            if moving:
                clip(moving, norm=loop.how.clip_norm, value=loop.how.clip_value)
    loop.optimiser.step()
    for average in loop.ports.averages:
        average.update(loop.model.state_dict())


class PartsOfEpoch:
    """The batches of an epoch, put together with target and old examples."""

    def __init__(self, loop: StageLoop, epoch: int, n_batches: int) -> None:
        self.loop = loop
        sources = loop.sources
        self._views = _views_of_epoch(sources.train, epoch)
        self._memory_rng = np.random.default_rng((*loop.seed, epoch, 2))
        if loop.ports.needs_unlabelled:
            assert sources.unlabelled is not None
            self._target_views = _views_of_epoch(sources.unlabelled, epoch)
            rng = np.random.default_rng((*loop.seed, epoch, 1))
            self._target = _cycled(len(sources.unlabelled), n_batches * loop.how.batch_size, rng)

    def of(self, number: int, chosen: np.ndarray, progress: float) -> Parts:
        """The parts of one step, for this process."""
        loop, sources = self.loop, self.loop.sources
        mine, weight = self._mine(chosen)
        batch = self._on_device(sources.train.batch(mine, self._views[mine]))
        inputs, wanted = loop.loss.prepare(batch, mine, self._views[mine])
        unlabelled = None
        if loop.ports.needs_unlabelled:
            assert sources.unlabelled is not None
            first = number * loop.how.batch_size
            target, _ = self._mine(self._target[first : first + len(chosen)])
            drawn = sources.unlabelled.batch(target, self._target_views[target])
            unlabelled = self._on_device(drawn)
        return Parts(inputs, wanted, progress, unlabelled, self._remembered(), weight)

    def _remembered(self) -> Remembered | None:
        memory, old = self.loop.ports.memory, self.loop.sources.old
        if memory is None or old is None:
            return None
        size = self.loop.ports.options.replay["batch_size"]
        indices, logits, targets = memory.draw(self._memory_rng, size)
        mine, weight = self._mine(np.arange(len(indices)))
        inputs = self._on_device(old.batch(indices[mine], 0 * mine))
        answers, wanted = self._on_device([logits[mine], targets[mine]])
        return Remembered(inputs, answers, wanted, weight)

    def _mine(self, indices: np.ndarray) -> tuple[np.ndarray, float]:
        """The share of this process, and its size over that of a mean share; everyone takes all of
        what is too little to share."""
        accelerator = self.loop.accelerator
        if len(indices) < accelerator.num_processes:
            return indices, 1.0
        mine = indices[accelerator.process_index :: accelerator.num_processes]
        return mine, len(mine) * accelerator.num_processes / len(indices)

    def _on_device(self, tensors: list[torch.Tensor]) -> list[torch.Tensor]:
        return [one.to(self.loop.accelerator.device) for one in tensors]


def _views_of_epoch(inputs: Inputs, epoch: int) -> np.ndarray:
    """Which view of each example this epoch shows: they take turns, or are new each epoch."""
    if inputs.n_views == 0:
        return np.full(len(inputs), epoch + 1)
    return (np.arange(len(inputs)) + epoch) % inputs.n_views


def _cycled(n: int, count: int, rng: np.random.Generator) -> np.ndarray:
    """`count` indices below n: whole permutations, one after the other."""
    rounds = [rng.permutation(n) for _ in range(-(-count // n))]
    found: np.ndarray = np.concatenate(rounds)
    return found[:count]


def _set_rates(optimiser: torch.optim.Optimizer, factor: float) -> None:
    for group in optimiser.param_groups:
        group["lr"] = group["peak_rate"] * factor


def _refuse_divergence(loss: float, batch: int) -> None:
    if not math.isfinite(loss) or loss > 1e4:
        raise Diverged(
            "training diverged",
            where=f"batch {batch + 1} of the epoch",
            got=f"loss {loss}",
            expected="a finite loss",
            fix="lower the learning rate (finetune.optimiser.learning_rate or "
            "distillation.learning_rate) or raise warmup_fraction; the weights of the last good "
            "epoch are kept in the checkpoint",
        )


@torch.inference_mode()
def served_logits(model: Any, inputs: Inputs) -> np.ndarray:
    """Logits (n, classes) of every example, the mean over its views."""
    model.eval()
    found = []
    for start in range(0, len(inputs), 64):
        indices = np.arange(start, min(start + 64, len(inputs)))
        answers = []
        for view in range(inputs.n_views):
            batch = inputs.batch(indices, np.full(len(indices), view))
            own = [part.to(model.encoder.device) for part in batch]
            answers.append(model.head(inputs.embed(model.encoder, own)).float().cpu().numpy())
        found.append(np.mean(answers, axis=0))
    return np.concatenate(found)
