"""How a step is taken: rates, groups of parameters, precision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from accelerate import Accelerator
from torch import nn

from regraft.errors import UserError
from regraft.transfer.objective import Objective
from regraft.transfer.optimisers import parameter_groups
from regraft.transfer.rates import block_rates
from regraft.transfer.stage import Stage


@dataclass(frozen=True)
class Optimisation:
    """How a step is taken; the fields are those of the recipe."""

    kind: str = "adamw"
    learning_rate: float = 3e-4
    head_learning_rate: float = 1e-3
    block_decay: float = 0.8
    modality_rates: Mapping[str, float] = field(default_factory=dict)
    weight_decay: float = 0.01
    warmup_fraction: float = 0.1
    range_test: bool = False
    batch_size: int = 32
    accumulation_steps: int = 1
    clip_norm: float = 1.0
    clip_value: float = 0.0
    dropout: float = 0.0
    keep_statistics: bool = True
    precision: str = "auto"


def freeze(model: Any, stage: Stage, how: Optimisation) -> None:
    """Let move what the stage says, and nothing else."""
    model.encoder.freeze_except(
        set(stage.trainable),
        keep_statistics=how.keep_statistics and not stage.batch_statistics,
        parameters=stage.parameters,
    )
    model.head.requires_grad_(stage.head)


def groups_of(
    model: Any, stage: Stage, how: Optimisation, terms: nn.ModuleDict
) -> list[dict[str, Any]]:
    """The head, the trainable blocks with discriminative rates, and what the terms learn.

    Raises
    ------
    UserError
        A rate is given for a modality that the encoder does not have.
    """
    encoder = model.encoder
    rates = block_rates(
        sorted(stage.trainable),
        len(encoder.blocks),
        last_rate=how.learning_rate * stage.rate_factor,
        decay=how.block_decay,
    )
    members = [("head", list(model.head.parameters()), how.head_learning_rate * stage.rate_factor)]
    factors = _modality_factors(encoder, how.modality_rates)
    members += [
        (encoder.blocks[index].name, encoder.parameters_of(index), rate * factors[index])
        for index, rate in rates.items()
    ]
    members += [
        (kind, list(term.parameters()), cast(Objective, term).learning_rate)
        for kind, term in terms.items()
    ]
    return [
        group
        for name, parameters, rate in members
        for group in parameter_groups(
            parameters, rate=rate, weight_decay=how.weight_decay, name=name
        )
    ]


def _modality_factors(encoder: Any, rates: Mapping[str, float]) -> list[float]:
    """The factor of the rate of every block."""
    modalities = [encoder.modality_of(index) for index in range(len(encoder.blocks))]
    unknown = sorted(set(rates) - set(modalities))
    if unknown:
        raise UserError(
            "the encoder has no such modality",
            where="finetune.optimiser.modality_rates",
            got=", ".join(unknown),
            expected=", ".join(sorted(set(modalities) - {""})) or "an encoder of pairs",
            fix="leave it out, or set learning_rate",
        )
    return [rates.get(modality, 1.0) for modality in modalities]


def accelerator_of(precision: str) -> Accelerator:
    """Accelerate decides device and processes; `auto` takes bfloat16 where a GPU has it."""
    gpu = torch.cuda.is_available() and torch.cuda.is_bf16_supported()
    mixed = {"auto": "bf16" if gpu else "no", "bfloat16": "bf16", "float32": "no"}[precision]
    return Accelerator(mixed_precision=mixed)
