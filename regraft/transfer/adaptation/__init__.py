"""Adaptation of a head to an unlabelled target domain, on cached features. Found by `kind`.

Each file has `answers(domains, **options)`: probabilities (target examples, classes). What comes
out is then taught to one head that serves both domains (`consolidate`).
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np

from regraft.transfer.adaptation.domains import Domains

KINDS = ("source_only", "standardise", "self_training")


def answers(kind: str, domains: Domains, **options: Any) -> np.ndarray:
    """Probabilities (target examples, classes) by the adaptation of this kind."""
    if kind not in KINDS:
        raise KeyError(f"no adaptation of kind {kind!r}; there are {', '.join(KINDS)}")
    found: np.ndarray = import_module(f"{__name__}.{kind}").answers(domains, **options)
    return found
