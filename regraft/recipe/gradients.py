"""Options of what happens between the losses of a step and the gradient that moves the weights."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from regraft.recipe.base import Options


class Sum(Options):
    """The gradient of the sum of all losses."""

    kind: Literal["sum"] = "sum"


class PCGrad(Options):
    """Where the gradients of two tasks conflict, each gives up its component against the other
    (Yu et al., NeurIPS 2020). With one task it is the sum."""

    kind: Literal["pcgrad"] = "pcgrad"


class GradNorm(Options):
    """Task weights are learned so that all tasks train at one pace (Chen et al., ICML 2018).
    With one task it is the sum."""

    kind: Literal["gradnorm"] = "gradnorm"
    alpha: float = Field(default=1.5, ge=0)
    """How strongly a task that lags behind is pulled forward; 0 only equalises the norms."""
    learning_rate: float = Field(default=0.025, gt=0)
    """Rate of the task weights."""


class Uncertainty(Options):
    """Task weights are learned as the inverse variance of each task's noise (Kendall et al.,
    CVPR 2018). With one task it is the sum."""

    kind: Literal["uncertainty"] = "uncertainty"
    learning_rate: float = Field(default=0.01, gt=0)
    """Rate of the log variances."""


class AGEM(Options):
    """A step may not raise the loss on replayed old examples: A-GEM (Chaudhry et al., ICLR 2019).
    Needs `replay`."""

    kind: Literal["agem"] = "agem"


Gradients = Annotated[
    Sum | PCGrad | GradNorm | Uncertainty | AGEM,
    Field(discriminator="kind"),
]
