"""Fine-tuning through the stages of a plan, with the best weights chosen on validation data.

The weights it starts with (a probed head on the pre-trained backbone) are the first candidate, so
fine-tuning that does not help changes nothing. Every stage starts from the best weights so far.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from regraft.progress import note
from regraft.training import processes
from regraft.training.checkpoints import load_checkpoint, save_checkpoint
from regraft.training.inputs import Inputs
from regraft.training.loop import StageLoop, run_epoch, validation_logits
from regraft.training.losses import MainLoss
from regraft.training.optimisation import Optimisation, accelerator_of, freeze, groups_of
from regraft.training.ports import Filled, Ports
from regraft.training.rate_search import search_rates
from regraft.training.sources import Data, Sources, cuts, stage_sources
from regraft.training.stage_module import StageModule
from regraft.training.trunk_store import TrunkStore
from regraft.transfer.batches import build_sampler
from regraft.transfer.optimisers import build_optimiser
from regraft.transfer.stage import Stage

Score = Callable[[np.ndarray], dict[str, float]]


@dataclass
class _Progress:
    """What survives a kill: which epoch comes next, the best weights so far, the history."""

    stage: int
    epoch: int
    best: dict[str, Any]
    history: list[dict[str, Any]]


@dataclass(frozen=True)
class _Run:
    """What stays the same over all stages."""

    model: Any
    stages: Sequence[Stage]
    ends: list[int | None]
    data: Data
    loss: MainLoss
    score: Score
    how: Optimisation
    ports: Filled
    trunks: TrunkStore | None
    checkpoint: Path
    seed: int

    def sources(self, index: int) -> Sources:
        """What a stage reads, computed with the model's present weights."""
        stage, end = self.stages[index], self.ends[index]
        return stage_sources(self.model, stage, end, self.data, self.trunks)


def fine_tune(
    model: Any,
    stages: Sequence[Stage],
    *,
    data: Data,
    loss: MainLoss,
    score: Score,
    optimisation: Optimisation,
    work_dir: Path,
    seed: int,
    ports: Ports = Ports(),  # noqa: B008 (frozen)
    trunks: TrunkStore | None = None,
) -> dict[str, Any]:
    """Train `model` (`.encoder`, `.head`) in place and return the history (see history.json).

    Parameters
    ----------
    score : validation logits (n, classes) to {"val_loss": ..., "val_accuracy": ...}; the epoch
        with the lowest val_loss is kept. Without validation data the last epoch is kept.
    ports : extra terms of the loss, gradients, batches and averages; none of them by default.
    work_dir : holds the checkpoint; a call with the same folder continues there, in as many
        processes as it has now. The first process reads and writes it for all.
    trunks : where activations of frozen blocks are cached; None computes them in every epoch.

    Raises
    ------
    UserError
        Training diverged, the disk is full, or a port lacks the examples that it needs.
    """
    filled = Filled(ports, seed=seed)
    data = filled.used(data)
    ends = cuts(model.encoder, stages, alike=bool(filled.terms))
    checkpoint = work_dir / "checkpoint.pt"
    run = _Run(
        model, stages, ends, data, loss, score, optimisation, filled, trunks, checkpoint, seed
    )
    progress = _Progress(0, 0, _candidate(model, "probe", 0, math.inf), [])
    state = processes.agreed(load_checkpoint(checkpoint) if processes.is_first() else None)
    if stages and (state is None or filled.begins):
        _begin(run, progress)
    if state is not None:
        filled.load_state_dict(state["ports"])
        progress = _Progress(**state["progress"])
        note(f"continuing after stage {progress.stage + 1}, epoch {progress.epoch}")
    for index in range(progress.stage, len(stages)):
        _run_stage(run, index, progress, state)
        state = None
    model.load_state_dict(progress.best["weights"])
    model.eval()
    chosen = {key: progress.best[key] for key in ("stage", "epoch")}
    return {"stages": progress.history, "chosen": chosen}


def _begin(run: _Run, progress: _Progress) -> None:
    """Measure the weights that the run begins with, and let the ports remember them."""
    sources = run.sources(0)
    run.ports.begin(run.model, run.data, sources, run.loss)
    if sources.validation is None:
        return
    found = _validated(run, sources.validation)
    progress.best["loss"] = found["val_loss"]
    progress.history.append(
        {
            "name": "probe",
            "epochs": [{"epoch": 0, **found}],
            "trainable_blocks": [],
            "chosen_epoch": 0,
        }
    )


def _run_stage(run: _Run, index: int, progress: _Progress, state: dict[str, Any] | None) -> None:
    stage, model = run.stages[index], run.model
    resumed = state if progress.epoch else None
    model.load_state_dict(resumed["model"] if resumed else progress.best["weights"])
    if not resumed:
        progress.history.append(_stage_card(model, stage))
        for average in run.ports.averages:
            average.begin(model.state_dict())
    sources = run.sources(index)
    loop = _stage_loop(run, index, sources)
    if resumed:
        loop.optimiser.load_state_dict(resumed["optimiser"])
    elif run.how.range_test:
        search_rates(loop)
    for epoch in range(progress.epoch, stage.epochs):
        record = run_epoch(loop, epoch)
        trained = _averaged(run)
        if sources.validation is not None:
            record |= _validated(run, sources.validation)
        _keep_best(run, stage, record, progress, chosen_by_loss=sources.validation is not None)
        if trained is not None:
            model.load_state_dict(trained)
        progress.epoch = epoch + 1
        if processes.is_first():
            _save(run, loop, progress)
    progress.stage, progress.epoch = index + 1, 0


def _validated(run: _Run, inputs: Inputs) -> dict[str, float]:
    return processes.agreed(run.score(validation_logits(run.model, inputs)))


def _stage_loop(run: _Run, index: int, sources: Sources) -> StageLoop:
    stage, how, ports = run.stages[index], run.how, run.ports
    freeze(run.model, stage, how)
    module = StageModule(
        run.model,
        sources.train,
        run.loss,
        ports.terms,
        ports.strengths,
        replay=ports.options.replay,
        dropout=how.dropout,
        head_moves=stage.head,
    )
    optimiser = build_optimiser(how.kind, groups_of(run.model, stage, how, ports.terms))
    accelerator = accelerator_of(how.precision)
    module, optimiser = accelerator.prepare(module, optimiser)
    sampler = build_sampler(
        ports.options.sampling,
        labels=run.loss.labels,
        n_classes=run.loss.n_classes,
        n_epochs=stage.epochs,
        difficulty=run.data.difficulty,
    )
    return StageLoop(
        module=module,
        model=run.model,
        optimiser=optimiser,
        accelerator=accelerator,
        sources=sources,
        loss=run.loss,
        sampler=sampler,
        ports=ports,
        how=how,
        n_epochs=stage.epochs,
        seed=(run.seed, index),
        name=stage.name,
    )


def _averaged(run: _Run) -> dict[str, torch.Tensor] | None:
    """Put the averaged weights into the model for validation; returns the trained ones, which
    the next epoch continues with, or None where nothing is averaged."""
    if not run.ports.averages:
        return None
    trained = _weights(run.model)
    state = trained
    for average in run.ports.averages:
        average.end_of_epoch(state)
        state = average.result(state)
    run.model.load_state_dict(state)
    return trained


def _keep_best(
    run: _Run, stage: Stage, record: dict[str, Any], progress: _Progress, *, chosen_by_loss: bool
) -> None:
    current = progress.history[-1]
    current["epochs"].append(record)
    if chosen_by_loss and record["val_loss"] >= progress.best["loss"]:
        return
    current["chosen_epoch"] = record["epoch"]
    loss = record.get("val_loss", math.inf)
    progress.best = _candidate(run.model, stage.name, record["epoch"], loss)


def _candidate(model: Any, stage: str, epoch: int, loss: float) -> dict[str, Any]:
    return {"weights": _weights(model), "loss": loss, "stage": stage, "epoch": epoch}


def _save(run: _Run, loop: StageLoop, progress: _Progress) -> None:
    state = {
        "model": run.model.state_dict(),
        "optimiser": loop.optimiser.state_dict(),
        "ports": run.ports.state_dict(),
        "progress": vars(progress),
    }
    save_checkpoint(run.checkpoint, state)


def _weights(model: Any) -> dict[str, torch.Tensor]:
    return copy.deepcopy(model.state_dict())


def _stage_card(model: Any, stage: Stage) -> dict[str, Any]:
    names = [model.encoder.blocks[index].name for index in sorted(stage.trainable)]
    size = stage.image_size or model.encoder.input_size
    return {
        "name": stage.name,
        "epochs": [],
        "trainable_blocks": names,
        "image_size": size,
        "chosen_epoch": None,
    }
