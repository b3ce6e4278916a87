"""Options of which weights come out of a stage: averages over steps, epochs, or with the start."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from regraft.recipe.base import Options


class EMA(Options):
    """Exponential moving average over steps (Polyak 1992; Tarvainen and Valpola, NeurIPS 2017)."""

    kind: Literal["ema"] = "ema"
    decay: float = Field(default=0.99, ge=0, lt=1)
    """Share of the average that a step keeps; it starts lower, min(decay, (1 + t) / (10 + t))."""


class WiSEFT(Options):
    """Between the weights fine-tuning began with and the tuned ones (Wortsman et al., CVPR 2022):
    keeps accuracy under shift."""

    kind: Literal["wise_ft"] = "wise_ft"
    alpha: float = Field(default=0.5, ge=0, le=1)
    """Share of the tuned weights; 0 keeps the start, 1 the tuned."""


class Soup(Options):
    """The mean of the weights at the end of each epoch of a stage (uniform soup, Wortsman et al.,
    ICML 2022)."""

    kind: Literal["soup"] = "soup"


Averaging = Annotated[EMA | WiSEFT | Soup, Field(discriminator="kind")]
