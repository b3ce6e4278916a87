"""No adaptation: what the known labels alone say. The null option, and the floor in every table.

With a few labelled target examples it is the plain weighted combination of both domains.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from regraft.transfer.adaptation.domains import Domains, probabilities

PENALTY = 0.03


def answers(domains: Domains, **options: Any) -> np.ndarray:
    """Probabilities (target examples, classes)."""
    rows = domains.known
    scores = domains.scores(rows, domains.one_hot(rows), domains.weights[rows], penalty=PENALTY)
    return probabilities(domains.target_scores(scores))
