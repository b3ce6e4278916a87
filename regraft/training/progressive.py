"""Fine-tuning through the stages of a plan, with the best weights chosen on validation data, or by
an unlabelled target where a term of the loss reads it.

The weights it starts with (a probed head on the pre-trained backbone) are the first candidate, so
fine-tuning that does not help changes nothing. Every stage starts from the best weights so far.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from regraft.progress import note
from regraft.training import processes
from regraft.training.checkpoints import load_checkpoint, save_checkpoint
from regraft.training.loop import StageLoop, run_epoch, served_logits
from regraft.training.losses import MainLoss
from regraft.training.optimisation import Optimisation, accelerator_of, freeze, groups_of
from regraft.training.ports import Filled, Ports
from regraft.training.rate_search import search_rates
from regraft.training.selection import Score, TargetScore
from regraft.training.sources import Data, Sources, cuts, stage_sources
from regraft.training.stage_module import StageModule
from regraft.training.trunk_store import TrunkStore
from regraft.transfer.batches import build_sampler
from regraft.transfer.optimisers import build_optimiser
from regraft.transfer.stage import Stage


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
    target_score: TargetScore | None
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
    target_score: TargetScore | None = None,
    ports: Ports = Ports(),  # noqa: B008 (frozen)
    trunks: TrunkStore | None = None,
) -> dict[str, Any]:
    """Train `model` (`.encoder`, `.head`) in place and return the history (see history.json).

    Parameters
    ----------
    score : validation logits (n, classes) to {"val_loss": ..., "val_accuracy": ...}; the epoch
        with the lowest val_loss is kept. Without validation data the last epoch is kept.
    target_score : where a term of the loss reads unlabelled examples, the epoch that scores highest
        on `data.target` is kept instead. Give both where these examples are of another domain than
        the validation data.
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
        model=model,
        stages=stages,
        ends=ends,
        data=data,
        loss=loss,
        score=score,
        target_score=target_score if data.target is not None else None,
        how=optimisation,
        ports=filled,
        trunks=trunks,
        checkpoint=checkpoint,
        seed=seed,
    )
    progress = _Progress(0, 0, _candidate(model, "probe", 0, None), [])
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
    chosen["by"] = "target_score" if run.target_score else "val_loss"
    return {"stages": progress.history, "chosen": chosen}


def _begin(run: _Run, progress: _Progress) -> None:
    """Measure the weights that the run begins with, and let the ports remember them."""
    sources = run.sources(0)
    run.ports.begin(run.model, run.data, sources, run.loss)
    found = _measured(run, sources)
    if not found:
        return
    progress.history.append(
        {
            "name": "probe",
            "epochs": [{"epoch": 0, **found}],
            "trainable_blocks": [],
            "chosen_epoch": 0,
        }
    )
    progress.best["badness"] = _badness(run, found, progress)


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
        record |= _measured(run, sources)
        _keep_best(run, stage, record, progress)
        if trained is not None:
            model.load_state_dict(trained)
        progress.epoch = epoch + 1
        if processes.is_first():
            _save(run, loop, progress)
    progress.stage, progress.epoch = index + 1, 0


def _measured(run: _Run, sources: Sources) -> dict[str, float]:
    """Scores of the present weights; none where there is nothing to measure them on."""
    found: dict[str, float] = {}
    validation = None
    if sources.validation is not None:
        validation = served_logits(run.model, sources.validation)
        found |= run.score(validation)
    if run.target_score is not None and sources.target is not None:
        target = served_logits(run.model, sources.target)
        found["target_score"] = run.target_score(target, validation)
    return processes.agreed(found)


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


def _keep_best(run: _Run, stage: Stage, record: dict[str, Any], progress: _Progress) -> None:
    current = progress.history[-1]
    current["epochs"].append(record)
    badness = _badness(run, record, progress)
    if badness is not None and badness >= progress.best["badness"]:
        return
    current["chosen_epoch"] = record["epoch"]
    progress.best = _candidate(run.model, stage.name, record["epoch"], badness)


def _badness(run: _Run, record: dict[str, Any], progress: _Progress) -> float | None:
    """What the kept epoch has least of; None where nothing was measured."""
    if run.target_score is None:
        return record.get("val_loss")
    start = progress.history[0]["epochs"][0].get("val_accuracy", 0.0)
    if record.get("val_accuracy", 0.0) < start - run.target_score.max_source_drop:
        return math.inf
    return -float(record["target_score"])


def _candidate(model: Any, stage: str, epoch: int, badness: float | None) -> dict[str, Any]:
    return {"weights": _weights(model), "badness": badness, "stage": stage, "epoch": epoch}


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
