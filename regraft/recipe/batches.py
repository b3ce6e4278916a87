"""Options of what a batch is made of: sampling, replayed old examples, exchanged backgrounds."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from regraft.recipe.base import Options


class Shuffled(Options):
    """Every example once per epoch, in random order."""

    kind: Literal["shuffled"] = "shuffled"


class ClassBalanced(Options):
    """Every class equally often: small classes are repeated, large ones take turns."""

    kind: Literal["class_balanced"] = "class_balanced"


class Curriculum(Options):
    """Easy examples first (Bengio et al., ICML 2009; Hacohen and Weinshall, ICML 2019)."""

    kind: Literal["curriculum"] = "curriculum"
    start_share: float = Field(default=0.3, gt=0, le=1)
    """Share of each class, the easiest, that the first epoch shows."""
    share_of_epochs: float = Field(default=0.5, gt=0, le=1)
    """Share of a stage's epochs after which all examples are shown."""


Sampling = Annotated[Shuffled | ClassBalanced | Curriculum, Field(discriminator="kind")]


class ReplayOptions(Options):
    """Old examples beside the new ones, against forgetting: DER++ (Buzzega et al., NeurIPS 2020).
    Used where old examples exist: in a retraining."""

    size: int = Field(default=0, ge=0)
    """Old examples kept in memory; 0 is off."""
    choice: Literal["reservoir", "class_balanced"] = "class_balanced"
    """Which are kept: every old example equally likely (Vitter 1985), or every class alike."""
    batch_size: int = Field(default=16, ge=1)
    """Old examples per step."""
    alpha: float = Field(default=0.5, ge=0)
    """Weight of the squared distance to the old model's logits."""
    beta: float = Field(default=0.5, ge=0)
    """Weight of the cross-entropy to the old labels."""
