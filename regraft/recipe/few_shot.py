"""Options of what is learned from few labels."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from regraft.recipe.base import Options


class FewShotOptions(Options):
    """With fewer labels per class than `finetune.min_labels_per_class`."""

    kind: Literal["head_only", "contrast"] = "head_only"
    """`contrast`: the last blocks learn to tell the classes apart and the head is fitted anew, if
    that has the lower log loss on held-out folds of the labels; else, and with `head_only`, the
    head on frozen features is the model."""
    blocks: int = Field(default=3, ge=1)
    """How many blocks, counted from the head, move."""
    epochs: int = Field(default=20, ge=1)
    """Their duration; nothing is held out that could end it earlier."""
    learning_rate: float = Field(default=5e-5, gt=0)
    """Rate of all these blocks."""
    temperature: float = Field(default=0.1, gt=0)
    """Of the contrast."""
    folds: int = Field(default=3, ge=2)
    """Folds on which both are compared; each costs one more training."""
