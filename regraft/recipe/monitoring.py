"""What counts as drift of live data against the champion's reference."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from regraft.recipe.base import Options

Monitor = Literal["inputs", "embeddings", "predictions", "performance", "quality"]


class MonitoringOptions(Options):
    """How windows of the prediction log are compared with the champion's reference."""

    monitors: list[Monitor] = Field(
        default=["inputs", "embeddings", "predictions", "performance", "quality"], min_length=1
    )
    """What is looked at. `quality` finds defects, which never start a retraining."""
    window: int = Field(default=100, ge=10, le=100_000)
    """Answers per window."""
    persistence: int = Field(default=2, ge=1, le=50)
    """How many windows in a row must be shifted before they count as drift."""
    alpha: float = Field(default=0.01, gt=0, lt=0.5)
    """Level of one window: the chance that any test fires without a shift, by Holm's correction."""
    permutations: int = Field(default=2000, ge=200, le=100_000)
    """Least number of relabellings behind each p-value; more where many tests are corrected for."""
    min_input_distance: float = Field(default=0.5, ge=0)
    """Smallest effect of an input statistic: Wasserstein distance in standard deviations. At 0.3 an
    unlucky reference made one calm stream of 50 windows in six alarm, at 0.5 none of 20."""
    min_auc: float = Field(default=0.7, ge=0.5, lt=1)
    """Smallest effect of the embeddings: how well a classifier tells the window from the reference
    (0.5 is not at all)."""
    min_label_shift: float = Field(default=0.1, ge=0, lt=1)
    """Smallest effect of the predicted classes: total variation distance beyond what relabelling
    gives."""
    min_confidence_shift: float = Field(default=0.2, ge=0, lt=1)
    """Smallest effect of the confidence: Kolmogorov-Smirnov distance."""
    min_accuracy_drop: float = Field(default=0.1, ge=0, lt=1)
    """Smallest effect of the answers whose truth is known: fall of accuracy as a share of 1."""
    max_defect_share: float = Field(default=0.05, ge=0, lt=1)
    """Share of a window's rows that may fail an expectation before it is called a defect."""
    enough_rows: int = Field(default=30, ge=4)
    """A window with fewer different inputs is not judged."""
    enough_rows_in_domain: int = Field(default=15, ge=4)
    """Where the champion knows several domains: rows of a window in one domain, and of the
    reference, below which that domain is left out of the comparison."""
    enough_labels: int = Field(default=15, ge=5)
    """Answers with a known truth from which on a window's accuracy is judged."""
    enough_held_out: int = Field(default=100, ge=10)
    """Held-out reference rows from which on embeddings are compared with these alone; with fewer,
    training rows help out."""
