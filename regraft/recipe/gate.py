"""When a candidate may become champion."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from regraft.recipe.base import Options


class GateOptions(Options):
    """When a candidate may become champion. Gains must be shown, harm need only be seen."""

    min_accuracy: float = Field(default=0.0, ge=0, le=1)
    """Absolute floor; a candidate must also beat the majority class."""
    metric: Literal["accuracy", "macro_f1"] = "accuracy"
    """What candidate and champion are compared by; each of several domains weighs the same."""
    min_gain: float = Field(default=0.0, ge=0, lt=1)
    """The lower end of the paired 95 % interval of the gain must exceed this."""
    max_slice_drop_pp: float = Field(default=10.0, ge=0, le=100)
    """How many percentage points (and one example) a domain, class or image condition may lose; so
    may a class within a domain with five examples or more, where luck hardly loses as many."""
    min_slice_rows: int = Field(default=10, ge=1)
    """Slices with fewer test examples are not judged by their points alone."""
    max_source_drop_pp: float = Field(default=1.5, ge=0, le=100)
    """With two domains: how many percentage points of source accuracy may be lost against the
    champion (and one example); without a champion, by adaptation against the probe before it."""
    max_ece_increase: float = Field(default=0.05, ge=0, le=1)
    """How much the expected calibration error may rise; judged from 50 test examples on."""
    max_latency_ratio: float = Field(default=2.0, gt=0)
    """How many times the champion's time one answer may take, both timed on the same inputs."""
    fresh_process_seconds: float = Field(default=300.0, gt=0)
    """How long the packaged model may take to load and to answer in a process of its own before it
    is held back."""
