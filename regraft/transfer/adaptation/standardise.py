"""Each domain's features by its own mean and deviation, then the source's labels on both.

What AdaBN does to the statistics of batch norm (Li et al., "Revisiting Batch Normalization for
Practical Domain Adaptation", 2016, section 3), done to the embedding: a difference that all
examples of a domain share, such as its light, says nothing of the class. x -> (x - m) / (s + o)
with the domain's mean m and deviation s (dim,); the offset o, a share of the median deviation,
keeps features that hardly vary from being blown up.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from regraft.transfer.adaptation.domains import Domains, probabilities

PENALTY = 0.1
_OFFSET = 0.3


def answers(domains: Domains, *, same: Domains | None = None, **options: Any) -> np.ndarray:
    """Probabilities (target examples, classes). `same` are the standardised domains where they are
    known already."""
    same = same or standardised(domains)
    rows = same.known
    scores = same.scores(rows, same.one_hot(rows), same.weights[rows], penalty=PENALTY)
    return probabilities(same.target_scores(scores))


def standardised(domains: Domains) -> Domains:
    """The same rows, with features standardised per domain and of about unit length."""
    x = domains.features.astype(np.float32)
    for domain in np.unique(domains.domain):
        rows = domains.domain == domain
        deviation = x[rows].std(0)
        x[rows] = (x[rows] - x[rows].mean(0)) / (deviation + _OFFSET * np.median(deviation) + 1e-12)
    return replace(domains, features=x / np.linalg.norm(x, axis=1).mean())
