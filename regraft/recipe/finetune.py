"""Options of fine-tuning: the plan (which blocks, when, how fast) and how a step is taken."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from regraft.recipe.augmentation import AugmentationOptions
from regraft.recipe.base import Options


class HeadOnly(Options):
    """Only the head is trained, on cached features of the frozen backbone."""

    kind: Literal["head_only"] = "head_only"


class GradualUnfreezing(Options):
    """First the head, then the last blocks, then more of them (Howard and Ruder, ACL 2018)."""

    kind: Literal["gradual_unfreezing"] = "gradual_unfreezing"
    depths: list[int] = Field(default=[2, 4], min_length=1)
    """How many blocks, counted from the head, are trainable in each stage after the probe."""
    epochs: list[int] = Field(default=[4, 3], min_length=1)
    """The longest duration of each of these stages; validation may choose an earlier epoch."""
    rate_decay_per_stage: float = Field(default=0.5, gt=0, le=1)
    """Each stage multiplies the learning rate of the one before by this."""


class FullFineTuning(Options):
    """Every block is trained at once, after the head (Kornblith et al., CVPR 2019)."""

    kind: Literal["full"] = "full"
    epochs: int = Field(default=5, ge=1)
    """The longest duration; validation may choose an earlier epoch."""


Plan = Annotated[HeadOnly | GradualUnfreezing | FullFineTuning, Field(discriminator="kind")]


class OptimiserOptions(Options):
    """How weights move."""

    kind: Literal["adamw", "sgd"] = "adamw"
    """AdamW (Loshchilov and Hutter 2019), or SGD with Nesterov momentum 0.9."""
    learning_rate: float = Field(default=1e-4, gt=0)
    """Rate of the last block; earlier blocks get less (block_decay)."""
    head_learning_rate: float = Field(default=1e-4, gt=0)
    """Rate of the head after its probe."""
    block_decay: float = Field(default=0.8, gt=0, le=1)
    """Discriminative rates: each block towards the input learns at this fraction of the next."""
    weight_decay: float = Field(default=0.01, ge=0)
    """Decoupled weight decay of matrices; biases and normalisation are spared."""
    warmup_fraction: float = Field(default=0.1, ge=0, lt=1)
    """Share of a stage's steps with a linearly rising rate; a half cosine follows."""


class FinetuneOptions(Options):
    """Progressive fine-tuning."""

    plan: Plan = GradualUnfreezing()
    """Which blocks train in which stage."""
    optimiser: OptimiserOptions = OptimiserOptions()
    """How weights move."""
    augmentation: AugmentationOptions = AugmentationOptions()
    """What a training view may differ in."""
    batch_size: int = Field(default=32, ge=2)
    """Images per step, over all processes."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Share of probability given to the other classes (Szegedy et al. 2016); 0 is off."""
    mixup_alpha: float = Field(default=0.0, ge=0)
    """Beta parameter of mixup (Zhang et al. 2018; on hidden activations behind a frozen trunk:
    manifold mixup, Verma et al. 2019); 0 is off."""
    class_balance: bool = True
    """Weigh the loss by inverse class frequency, so that small classes count as much."""
    clip_norm: float = Field(default=1.0, ge=0)
    """Largest gradient norm; 0 is off."""
    batch_norm: Literal["frozen", "batch"] = "frozen"
    """Statistics of batch norm in trainable blocks: kept, or measured on each batch. Frozen
    blocks always keep theirs."""
    min_labels_per_class: int = Field(default=15, ge=0)
    """With fewer training labels in the smallest class, the plan ends after the probe: there is
    too little to choose an epoch with."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """`auto` takes bfloat16 on a GPU that has it, else float32."""
    threads: int = Field(default=0, ge=0)
    """CPU threads; 0 takes what the process may use."""
