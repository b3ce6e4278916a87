"""What an encoder still knows of everything else, once it was moved towards one domain."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.stats import spearmanr

from regraft.data.examples.general_questions import similarity_pairs


def general_similarity(embed: Callable[[list[str]], np.ndarray]) -> float:
    """Spearman correlation (-1 to 1) of cosine and grade on the 160 general sentence pairs of the
    project. `embed` gives embeddings (n, dim) of unit length."""
    pairs = similarity_pairs()
    first, second = embed([a for a, _, _ in pairs]), embed([b for _, b, _ in pairs])
    grades = [grade for _, _, grade in pairs]
    return float(spearmanr((first * second).sum(1), grades).statistic)
