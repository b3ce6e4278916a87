"""Options of augmentation."""

from __future__ import annotations

from pydantic import Field

from regraft.recipe.base import Options


class AugmentationOptions(Options):
    """What a training view of an example may differ in."""

    min_crop: float = Field(default=0.6, gt=0, le=1)
    """Smallest share of the area that a random crop keeps; 1 switches crops off."""
    flips: bool = True
    """Mirror left-right and up-down: a leaf has no up."""
    colour_jitter: float = Field(default=0.1, ge=0, lt=1)
    """Largest relative change of brightness, contrast and saturation."""
    randaugment_magnitude: int = Field(default=0, ge=0, le=30)
    """Strength of two RandAugment operations (Cubuk et al. 2020); 0 is off."""
    typos: float = Field(default=0.0, ge=0, lt=1)
    """Share of the words of a text that get a typing error: letters swapped, lost or doubled."""
    word_dropout: float = Field(default=0.0, ge=0, lt=1)
    """Share of the words of a text that are left out."""
    topic_swaps: float = Field(default=0.0, ge=0, le=1)
    """Texts with a topic (the column of that name): share of the views that name another one."""
    modality_dropout: float = Field(default=0.0, ge=0, lt=1)
    """Pairs: share of the views that lack their image or their text."""
    speech: bool = True
    """Recordings sound as from another throat, line, room: speed and pitch, band, tilt, noise."""
    cached_views: int = Field(default=4, ge=1)
    """Augmented views per example that a frozen trunk computes once and epochs take turns with."""
