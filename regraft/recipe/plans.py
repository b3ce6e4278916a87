"""Options of a fine-tuning plan: which blocks train, when, at which rate and resolution.

Each `kind` is a file of its name in `regraft/transfer/plans/`, which cites the paper. Every plan
begins with the head that the probe fitted.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from regraft.recipe.base import Options

ImageSizes = list[Annotated[int, Field(ge=16)]]


class HeadOnly(Options):
    """Only the head is trained, on cached features of the frozen backbone."""

    kind: Literal["head_only"] = "head_only"


class LastN(Options):
    """The last blocks at once, the ones before stay (Yosinski et al., NeurIPS 2014)."""

    kind: Literal["last_n"] = "last_n"
    blocks: int = Field(default=2, ge=1)
    """How many blocks, counted from the head, move."""
    epochs: int = Field(default=5, ge=1)
    """The longest duration (of each image size); validation may choose an earlier epoch."""
    image_sizes: ImageSizes = []
    """Progressive resizing: one stage per size in pixels, small to large; empty takes the
    backbone's own."""


class GradualUnfreezing(Options):
    """First the head, then the last blocks, then more of them (Howard and Ruder, ACL 2018)."""

    kind: Literal["gradual_unfreezing"] = "gradual_unfreezing"
    depths: list[int] = Field(default=[2, 4], min_length=1)
    """How many blocks, counted from the head, are trainable in each stage after the probe."""
    epochs: list[int] = Field(default=[4, 3], min_length=1)
    """The longest duration of each of these stages; validation may choose an earlier epoch."""
    rate_decay_per_stage: float = Field(default=0.5, gt=0, le=1)
    """Each stage multiplies the learning rate of the one before by this."""
    image_sizes: ImageSizes = []
    """Progressive resizing: the image size of each stage in pixels; empty takes the backbone's
    own."""


class LinearProbeFineTune(Options):
    """A stage of the head alone, then every block (LP-FT: Kumar et al., ICLR 2022)."""

    kind: Literal["linear_probe_fine_tune"] = "linear_probe_fine_tune"
    head_epochs: int = Field(default=2, ge=1)
    """The longest duration of the head's stage."""
    head_rate_factor: float = Field(default=10.0, gt=0)
    """The head's stage learns at this multiple of head_learning_rate."""
    epochs: int = Field(default=5, ge=1)
    """The longest duration of the stage of every block; validation may choose an earlier epoch."""


class Surgical(Options):
    """The blocks with the largest relative gradient on the new data (Lee et al., ICLR 2023)."""

    kind: Literal["surgical"] = "surgical"
    blocks: int = Field(default=1, ge=1)
    """How many blocks move."""
    epochs: int = Field(default=5, ge=1)
    """The longest duration; validation may choose an earlier epoch."""


class NormBias(Options):
    """Normalisation and biases only (Frankle et al., ICLR 2021; BitFit: Ben-Zaken et al. 2022)."""

    kind: Literal["norm_bias"] = "norm_bias"
    epochs: int = Field(default=5, ge=1)
    """The longest duration; validation may choose an earlier epoch."""


class Lora(Options):
    """Low-rank updates beside frozen weights, merged at the end (LoRA: Hu et al., ICLR 2022)."""

    kind: Literal["lora"] = "lora"
    rank: int = Field(default=8, ge=1)
    """Rank of each update; layers too narrow for it get none."""
    alpha: int = Field(default=16, ge=1)
    """Scale: an update counts alpha / rank times."""
    targets: list[str] = []
    """Ends of the names of the layers that get one, for example [qkv, proj]; empty takes every
    linear layer and every convolution without groups."""
    blocks: int = Field(default=0, ge=0)
    """How many blocks, counted from the head, get them; 0 takes all. Fewer let the blocks before
    be cached."""
    epochs: int = Field(default=5, ge=1)
    """The longest duration; validation may choose an earlier epoch."""


class FullFineTuning(Options):
    """Every block is trained at once, after the head (Kornblith et al., CVPR 2019)."""

    kind: Literal["full"] = "full"
    epochs: int = Field(default=5, ge=1)
    """The longest duration (of each image size); validation may choose an earlier epoch."""
    image_sizes: ImageSizes = []
    """Progressive resizing: one stage per size in pixels, small to large; empty takes the
    backbone's own."""


class Scratch(Options):
    """The architecture alone moves: every weight is drawn anew ("hard transfer")."""

    kind: Literal["scratch"] = "scratch"
    epochs: int = Field(default=30, ge=1)
    """The longest duration; validation may choose an earlier epoch."""


Plan = Annotated[
    HeadOnly
    | LastN
    | GradualUnfreezing
    | LinearProbeFineTune
    | Surgical
    | NormBias
    | Lora
    | FullFineTuning
    | Scratch,
    Field(discriminator="kind"),
]

PlanWithoutData = Annotated[
    HeadOnly | LastN | GradualUnfreezing | LinearProbeFineTune | NormBias | Lora | FullFineTuning,
    Field(discriminator="kind"),
]
"""The plans that begin with what the model knows, and need no look at the data."""
