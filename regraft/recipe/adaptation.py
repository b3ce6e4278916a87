"""Options of adapting the head to an unlabelled target domain."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from regraft.recipe.base import Options


class AdaptationOptions(Options):
    """How the head learns from target examples without labels (closed form, on cached features).

    Terms of the loss that do the same while blocks move are `finetune.objectives`.
    """

    kind: Literal["auto", "source_only", "standardise", "self_training"] = "auto"
    """`auto`: the best by a score that sees no target label. `source_only`: none. `standardise`:
    each domain by its own mean and deviation. `self_training`: with its own sure answers too."""
    when: Literal["shifted", "always"] = "shifted"
    """Whether only a verdict of the shift detection starts it."""
    target_weight: float = Field(default=10.0, gt=0)
    """Weight of all labelled target examples together; all source examples together weigh 1."""
    pseudo_label_weight: float = Field(default=10.0, ge=0)
    """Weight of all target examples with their own answers as labels, where none has a label."""
    pseudo_label_weight_beside_labels: float = Field(default=1.0, ge=0)
    """The same where some target examples have labels: these should outweigh guesses."""
    rounds: int = Field(default=5, ge=1)
    """Rounds of self-training; each believes a larger share of the answers, the surest first."""
    class_balance: float = Field(default=0.5, ge=0, le=1)
    """0 takes the class frequencies of the answers as they are, 1 makes all classes equal."""
    semi_supervised: Literal["auto", "off"] = "auto"
    """Whether unlabelled examples of the labelled ones' own domain teach the head by self-training
    (`auto`: where it lowers the log loss on held-out folds of the labelled ones). Its guesses weigh
    `pseudo_label_weight_beside_labels`."""
    max_source_drop_pp: float = Field(default=1.5, ge=0, le=100)
    """A candidate that loses more held-out source accuracy than this (percentage points) is out."""
