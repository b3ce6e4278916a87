"""Options of fine-tuning: the plan (which blocks, when, how fast) and how a step is taken."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from regraft.recipe.adaptation import AdaptationOptions
from regraft.recipe.augmentation import AugmentationOptions
from regraft.recipe.averaging import Averaging
from regraft.recipe.base import Options
from regraft.recipe.batches import ReplayOptions, Sampling, Shuffled
from regraft.recipe.few_shot import FewShotOptions
from regraft.recipe.gradients import Gradients, Sum
from regraft.recipe.objectives import Objective
from regraft.recipe.optimiser import OptimiserOptions
from regraft.recipe.plans import GradualUnfreezing, Plan
from regraft.recipe.signing import SigningOptions
from regraft.recipe.strategy import SearchOptions, Strategy


class FinetuneOptions(Options):
    """Progressive fine-tuning."""

    strategy: Strategy = "as_given"
    """`auto` chooses plan, learning rate and regulariser by the number of labels, the shift verdict
    and a search on the validation split; the report says why. `as_given` takes what is below."""
    search: SearchOptions = SearchOptions()
    """How `auto` searches."""
    adaptation: AdaptationOptions = AdaptationOptions()
    """How the head learns from an unlabelled target, before blocks move."""
    plan: Plan = GradualUnfreezing()
    """Which blocks train in which stage."""
    optimiser: OptimiserOptions = OptimiserOptions()
    """How weights move."""
    objectives: list[Objective] = []
    """Extra terms of the loss."""
    auxiliary_weight: float = Field(default=1.0, ge=0)
    """Weight of the loss of each of `data.auxiliary_labels` beside that of the label; 0 learns the
    label alone."""
    gradients: Gradients = Sum()
    """How several losses become one gradient."""
    sampling: Sampling = Shuffled()
    """Which examples an epoch shows."""
    replay: ReplayOptions = ReplayOptions()
    """Old examples beside the new ones."""
    averaging: list[Averaging] = []
    """Which weights come out of a stage; applied in this order."""
    augmentation: AugmentationOptions = AugmentationOptions()
    """What a training view may differ in."""
    batch_size: int = Field(default=32, ge=2)
    """Images per step, over all processes."""
    accumulation_steps: int = Field(default=1, ge=1)
    """Steps whose gradients are averaged before the weights move."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Share of the embedding that is dropped before the head; 0 is off."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Share of probability given to the other classes (Szegedy et al. 2016); 0 is off."""
    mixup_alpha: float = Field(default=0.0, ge=0)
    """Beta parameter of mixup (Zhang et al. 2018; on hidden activations behind a frozen trunk:
    manifold mixup, Verma et al. 2019); 0 is off."""
    cutmix_alpha: float = Field(default=0.0, ge=0)
    """Beta parameter of CutMix (Yun et al. 2019); with both, each batch gets one. 0 is off."""
    class_balance: bool = True
    """Weigh the loss by inverse class frequency, so that small classes count as much."""
    clip_norm: float = Field(default=1.0, ge=0)
    """Largest gradient norm; 0 is off."""
    clip_value: float = Field(default=0.0, ge=0)
    """Largest entry of the gradient; 0 is off."""
    batch_norm: Literal["frozen", "batch"] = "frozen"
    """Statistics of batch norm in trainable blocks: kept, or measured on each batch. Frozen
    blocks always keep theirs."""
    min_labels_per_class: int = Field(default=15, ge=0)
    """With fewer training labels in the smallest class, the plan ends after the probe: there is
    too little to choose an epoch with."""
    few_shot: FewShotOptions = FewShotOptions()
    """What is learned from so few labels."""
    probe_is_enough: float = Field(default=0.985, gt=0, le=1)
    """With this cross-validated accuracy of the probe, the plan ends after it: blocks that move
    cost several times as much for what is left. 1 goes on in any case."""
    signing: SigningOptions = SigningOptions()
    """The signs of spoken words, where recordings are paired with motions."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """`auto` takes bfloat16 on a GPU that has it, else float32."""
    processes: int = Field(default=1, ge=1, le=64)
    """Processes on this machine that train one model together, one per GPU; each takes its share of
    every batch. With 2 on a CPU nothing gets faster, but it can be tried."""
    threads: int = Field(default=0, ge=0)
    """CPU threads of each process; 0 shares what they may use."""
    cache_gb: float = Field(default=8.0, ge=0)
    """Bound on what all runs together keep of frozen blocks' activations; 0 keeps none."""
