"""Fine-tuning through the stages of a plan, with the best weights chosen on validation data.

The weights it starts with (a probed head on the pre-trained backbone) are the first candidate, so
fine-tuning that does not help changes nothing. Every stage starts from the best weights so far.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import nn

from regraft.progress import note
from regraft.training.checkpoints import load_checkpoint, save_checkpoint
from regraft.training.inputs import ImageInputs, Inputs, Views, trunk_inputs
from regraft.training.loop import StageModule, run_epoch, validation_logits
from regraft.transfer.optimisers import build_optimiser, parameter_groups
from regraft.transfer.rates import block_rates
from regraft.transfer.stage import Stage

StepLoss = Callable[[nn.Module, list[torch.Tensor], np.ndarray, np.ndarray], torch.Tensor]
Score = Callable[[np.ndarray], dict[str, float]]
MAX_CACHE_BYTES = 4 * 2**30


@dataclass(frozen=True)
class Optimisation:
    """How a step is taken; the fields are those of the recipe."""

    kind: str = "adamw"
    learning_rate: float = 3e-4
    head_learning_rate: float = 1e-3
    block_decay: float = 0.8
    weight_decay: float = 0.01
    warmup_fraction: float = 0.1
    batch_size: int = 32
    clip_norm: float = 1.0
    keep_statistics: bool = True
    precision: str = "auto"


@dataclass
class _Progress:
    """What survives a kill: which epoch comes next, the best weights so far, the history."""

    stage: int
    epoch: int
    best: dict[str, Any]
    history: list[dict[str, Any]]


def fine_tune(
    model: Any,
    stages: list[Stage],
    *,
    train: Views,
    validation: Views | None,
    score: Score,
    step_loss: StepLoss,
    optimisation: Optimisation,
    n_views: int,
    work_dir: Path,
    seed: int,
    reuse_trunk: bool = True,
) -> dict[str, Any]:
    """Train `model` (`.encoder`, `.head`) in place and return the history (see history.json).

    Parameters
    ----------
    score : validation logits (n, classes) to {"val_loss": ..., "val_accuracy": ...}; the epoch
        with the lowest val_loss is kept. Without validation data the last epoch is kept.
    n_views : augmented views per example that a cached trunk holds; without a trunk, 0 means a
        new view each epoch.
    work_dir : checkpoints and the trunk cache; a call with the same folder continues there.

    Raises
    ------
    UserError
        Training diverged, or the disk is full.
    """
    checkpoint = work_dir / "checkpoint.pt"
    sources = _sources(model, stages, train, validation, n_views, work_dir, reuse_trunk)
    state = load_checkpoint(checkpoint)
    if state is None:
        progress = _begin(model, sources, validation, score)
    else:
        progress = _Progress(**state["progress"])
        note(f"continuing after stage {progress.stage + 1}, epoch {progress.epoch}")
    for index in range(progress.stage, len(stages)):
        _run_stage(
            model,
            stages[index],
            index,
            progress,
            sources[index],
            len(train),
            len(validation) if validation else 0,
            score=score,
            step_loss=step_loss,
            optimisation=optimisation,
            checkpoint=checkpoint,
            seed=seed,
            state=state,
        )
        state = None
    model.load_state_dict(progress.best["weights"])
    model.eval()
    chosen = {key: progress.best[key] for key in ("stage", "epoch")}
    return {"stages": progress.history, "chosen": chosen}


def _begin(
    model: Any,
    sources: list[tuple[Inputs, Inputs | None]],
    validation: Views | None,
    score: Score,
) -> _Progress:
    history: list[dict[str, Any]] = []
    loss = math.inf
    if validation is not None and sources and sources[0][1] is not None:
        found = score(validation_logits(model, sources[0][1], len(validation)))
        history.append(
            {
                "name": "probe",
                "epochs": [{"epoch": 0, **found}],
                "trainable_blocks": [],
                "chosen_epoch": 0,
            }
        )
        loss = found["val_loss"]
    best = {"weights": _weights(model), "loss": loss, "stage": "probe", "epoch": 0}
    return _Progress(stage=0, epoch=0, best=best, history=history)


def _run_stage(
    model: Any,
    stage: Stage,
    index: int,
    progress: _Progress,
    source: tuple[Inputs, Inputs | None],
    n_train: int,
    n_validation: int,
    *,
    score: Score,
    step_loss: StepLoss,
    optimisation: Optimisation,
    checkpoint: Path,
    seed: int,
    state: dict[str, Any] | None,
) -> None:
    inputs, validation = source
    if progress.epoch == 0:
        model.load_state_dict(progress.best["weights"])
        progress.history.append(_stage_card(model, stage))
    trainable = set(stage.trainable)
    model.encoder.freeze_except(trainable, keep_statistics=optimisation.keep_statistics)
    optimiser = build_optimiser(optimisation.kind, _groups(model, stage, optimisation))
    accelerator = _accelerator(optimisation.precision)
    module, optimiser = accelerator.prepare(StageModule(model, inputs), optimiser)
    if progress.epoch and state is not None:
        model.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
    for epoch in range(progress.epoch, stage.epochs):
        record = run_epoch(
            module,
            optimiser,
            accelerator,
            inputs,
            step_loss,
            n_examples=n_train,
            batch_size=optimisation.batch_size,
            epoch=epoch,
            n_epochs=stage.epochs,
            warmup_fraction=optimisation.warmup_fraction,
            clip_norm=optimisation.clip_norm,
            seed=(seed, index),
            description=f"{stage.name}, epoch {epoch + 1}/{stage.epochs}",
        )
        if validation is not None:
            record |= score(validation_logits(model, validation, n_validation))
        _keep_best(model, stage, record, progress, chosen_by_loss=validation is not None)
        progress.epoch = epoch + 1
        if accelerator.is_main_process:
            save_checkpoint(
                checkpoint,
                {
                    "model": model.state_dict(),
                    "optimiser": optimiser.state_dict(),
                    "progress": vars(progress),
                },
            )
    progress.stage, progress.epoch = index + 1, 0


def _keep_best(
    model: Any, stage: Stage, record: dict[str, Any], progress: _Progress, *, chosen_by_loss: bool
) -> None:
    current = progress.history[-1]
    current["epochs"].append(record)
    if chosen_by_loss and record["val_loss"] >= progress.best["loss"]:
        return
    current["chosen_epoch"] = record["epoch"]
    progress.best = {
        "weights": _weights(model),
        "loss": record.get("val_loss", math.inf),
        "stage": stage.name,
        "epoch": record["epoch"],
    }


def _weights(model: Any) -> dict[str, torch.Tensor]:
    return copy.deepcopy(model.state_dict())


def _stage_card(model: Any, stage: Stage) -> dict[str, Any]:
    names = [model.encoder.blocks[index].name for index in sorted(stage.trainable)]
    size = model.encoder.spec.preprocessing.image_size
    return {
        "name": stage.name,
        "epochs": [],
        "trainable_blocks": names,
        "image_size": size,
        "chosen_epoch": None,
    }


def _groups(model: Any, stage: Stage, how: Optimisation) -> list[dict[str, Any]]:
    encoder = model.encoder
    rates = block_rates(
        sorted(stage.trainable),
        len(encoder.blocks),
        last_rate=how.learning_rate * stage.rate_factor,
        decay=how.block_decay,
    )
    groups = parameter_groups(
        list(model.head.parameters()),
        rate=how.head_learning_rate * stage.rate_factor,
        weight_decay=how.weight_decay,
        name="head",
    )
    for index, rate in rates.items():
        groups += parameter_groups(
            encoder.parameters_of(index),
            rate=rate,
            weight_decay=how.weight_decay,
            name=encoder.blocks[index].name,
        )
    return groups


def _accelerator(precision: str) -> Accelerator:
    """Accelerate decides device and processes; `auto` takes bfloat16 where a GPU has it."""
    gpu = torch.cuda.is_available() and torch.cuda.is_bf16_supported()
    mixed = {"auto": "bf16" if gpu else "no", "bfloat16": "bf16", "float32": "no"}[precision]
    return Accelerator(mixed_precision=mixed)


def _sources(
    model: Any,
    stages: list[Stage],
    train: Views,
    validation: Views | None,
    n_views: int,
    work_dir: Path,
    reuse_trunk: bool,
) -> list[tuple[Inputs, Inputs | None]]:
    """Training and validation inputs of every stage; stages share one cache, cut where the
    earliest of them begins to train."""
    ends = [model.encoder.trunk_end(set(stage.trainable)) for stage in stages]
    plain = (
        ImageInputs(train, n_views=0 if reuse_trunk else n_views),
        ImageInputs(validation) if validation else None,
    )
    cuts = [end for end in ends if end is not None]
    if not reuse_trunk or not cuts:
        return [plain for _ in stages]
    end = min(cuts)
    cached = {}
    for part, views, count in (("train", train, n_views), ("validation", validation, 1)):
        if views is not None:
            cached[part] = trunk_inputs(
                model.encoder,
                views,
                end=end,
                n_views=count,
                folder=work_dir / f"trunk_{part}",
                max_bytes=MAX_CACHE_BYTES,
                description=f"frozen trunk, {part} images",
            )
    if cached["train"] is None:
        return [plain for _ in stages]
    both = (cached["train"], cached.get("validation") or plain[1])
    return [both if own is not None else plain for own in ends]
