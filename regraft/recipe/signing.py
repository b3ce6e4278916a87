"""Options of the signs that spoken words are bridged to."""

from __future__ import annotations

from regraft.recipe.base import Options
from regraft.recipe.plans import FullFineTuning, PlanWithoutData


class SigningOptions(Options):
    """How the pre-trained motion decoder is bridged to the words."""

    plan: PlanWithoutData = FullFineTuning(epochs=400)
    """Which blocks of the decoder train in which stage: its layers (two), then what leaves them.
    The words' memories are the head: head_only leaves them at the mean of each word's signs. An
    epoch decodes every word once."""
