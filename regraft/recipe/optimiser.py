"""Options of the optimiser and its learning rates."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from regraft.recipe.base import Options


class OptimiserOptions(Options):
    """How weights move."""

    kind: Literal["adamw", "sgd", "lion"] = "adamw"
    """AdamW (Loshchilov and Hutter 2019), SGD with Nesterov momentum 0.9, or Lion (Chen et al.
    2023; wants a rate 3 to 10 times smaller and a decay as much larger)."""
    learning_rate: float = Field(default=1e-4, gt=0)
    """Rate of the last block; earlier blocks get less (block_decay)."""
    head_learning_rate: float = Field(default=1e-4, gt=0)
    """Rate of the head after its probe."""
    block_decay: float = Field(default=0.8, gt=0, le=1)
    """Discriminative rates: each block towards the input learns at this fraction of the next."""
    modality_rates: dict[Literal["image", "text"], Annotated[float, Field(gt=0)]] = {}
    """Pairs: factors of the rates of one modality's blocks, for example {text: 0.1}; the other one
    keeps 1. `backbone.locked` keeps a modality as it is."""
    weight_decay: float = Field(default=0.01, ge=0)
    """Decoupled weight decay of matrices; biases and normalisation are spared."""
    warmup_fraction: float = Field(default=0.1, ge=0, lt=1)
    """Share of a stage's steps with a linearly rising rate; a half cosine follows."""
    range_test: bool = False
    """Before each stage, run 60 steps at rising rates and take the rate at which the loss falls
    fastest in the place of learning_rate (Smith 2017); the ratios of the other rates stay."""
