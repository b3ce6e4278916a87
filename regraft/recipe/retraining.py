"""Options of retraining: when drift leads to it, and what it is trained on."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from regraft.recipe.base import Options


class RetrainingOptions(Options):
    """When drift leads to a retraining, and what the candidate is trained on."""

    when_unlabelled: Literal["adapt", "ask"] = "adapt"
    """Drift, and no label for a new example: `adapt` trains without (the new examples are an
    unlabelled target); `ask` waits and lists the most useful examples to label. Without labels
    nothing can be shown on the new data, so the gate will usually hold what `adapt` makes."""
    cooldown_hours: float = Field(default=24.0, ge=0)
    """Least time between the starts of two retrainings."""
    most_per_week: int = Field(default=3, ge=1)
    """Retrainings in any seven days."""
    min_new_examples: int = Field(default=30, ge=1)
    """New examples whose files are there, below which nothing is retrained."""
    most_new_examples: int = Field(default=1000, ge=1)
    """New examples that are used, the labelled ones first and then the newest."""
    test_labels_per_class: int = Field(default=5, ge=1)
    """The first labels of every class that become frozen test examples: what cannot be tested
    cannot be promoted. Of further labels every second one trains."""
    replay_per_class: int = Field(default=0, ge=0)
    """Old training examples per class that are shown again; 0 takes all of them. Old test and
    validation examples always stay."""
    allow_missing: bool = False
    """Go on without the champion's examples whose files are gone, instead of stopping."""
    ask_for: int = Field(default=20, ge=1, le=1000)
    """How many examples the list of what to label holds."""
    most_attempts: int = Field(default=5, ge=1)
    """A retraining that fails or is killed is continued by the next check, at most so often."""
