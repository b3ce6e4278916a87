"""Options of how two modalities become one answer.

Each `kind` is a file of its name in `regraft/transfer/fusion/`, which cites the paper.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from regraft.recipe.base import Options


class Concatenated(Options):
    """One head on both embeddings side by side: the usual baseline."""

    kind: Literal["concatenated"] = "concatenated"


class Weighted(Options):
    """The probabilities of both single-modality models, averaged with one weight."""

    kind: Literal["weighted"] = "weighted"
    weights: int = Field(default=21, ge=2)
    """How many weights between 0 (text alone) and 1 (image alone) are compared."""


class Learned(Options):
    """The product of both models' probabilities, each with an exponent that is learned."""

    kind: Literal["learned"] = "learned"
    penalty: float = Field(default=1.0, ge=0)
    """How strongly the exponents are held at one half each."""


class Gated(Options):
    """An average whose weight depends on how sure each of the two models is."""

    kind: Literal["gated"] = "gated"
    penalty: float = Field(default=1.0, ge=0)
    """How strongly the gate is held at one weight for all examples."""


class Bilinear(Options):
    """One model of the text, the image, and the products of their leading components."""

    kind: Literal["bilinear"] = "bilinear"
    image_rank: int = Field(default=32, ge=1)
    """Components of the image that enter the products."""
    text_rank: int = Field(default=64, ge=1)
    """Components of the text that enter the products."""
    shares: list[Annotated[float, Field(gt=0)]] = Field(default=[0.15, 0.3, 1.0, 3.0], min_length=1)
    """Weights of the products beside the text, compared on held-out examples."""


class CrossAttention(Options):
    """Words of the text look at regions of the image and regions at words; what they find is added
    to what both models say alone."""

    kind: Literal["cross_attention"] = "cross_attention"
    rank: int = Field(default=16, ge=1)
    """Components of a region, or of a word, that are looked at."""
    width: int = Field(default=64, ge=1)
    """Numbers that are found in either direction; a multiple of `heads`."""
    heads: int = Field(default=4, ge=1)
    """Into how many parts the numbers are divided, each of which looks for itself."""
    dropout: float = Field(default=0.5, ge=0, lt=1)
    """Share of what was found that is left out in a step."""
    rate: float = Field(default=1e-2, gt=0)
    """Learning rate (AdamW)."""
    weight_decay: float = Field(default=2.0, ge=0)
    """How strongly everything that is learned is held at zero (AdamW)."""
    epochs: int = Field(default=20, ge=1)
    """The most; the one that is kept is chosen on held-out examples."""

    @model_validator(mode="after")
    def _whole_heads(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"width: {self.width} is no multiple of heads, {self.heads}")
        return self


Fusion = Annotated[
    Concatenated | Weighted | Learned | Gated | Bilinear | CrossAttention,
    Field(discriminator="kind"),
]

FUSIONS: tuple[Fusion, ...] = (
    Concatenated(), Weighted(), Learned(), Gated(), Bilinear(), CrossAttention(),
)  # fmt: skip
"""Every kind with its defaults."""
