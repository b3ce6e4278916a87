"""Which of the domains that the champion knows does an answer belong to?

A model that has learned lab and field photos must not alarm because today only field photos come:
that is another mix of what it knows, not drift. So live answers are assigned to the reference's
domains by their embeddings, and compared within them. What belongs to no domain is assigned to the
nearest, and stands out there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from regraft.monitoring.samples import Array
from regraft.shift.cross_validation import NEVER_HELD_OUT, assign_folds, fold_numbers

_COMPONENTS = 50


def known_domains(domains: pd.Series, enough_rows: int) -> list[str]:
    """Domains with enough rows to be compared with, in order of their names."""
    counts = domains.fillna("").astype(str).value_counts()
    return sorted(str(name) for name, count in counts.items() if count >= enough_rows)


@dataclass(frozen=True)
class DomainAssigner:
    """A linear classifier of domains on standardised principal components of embeddings."""

    domains: list[str]
    model: Any

    @staticmethod
    def fit(
        embeddings: Array, truth: Array, domains: list[str], *, seed: int = 0
    ) -> tuple[DomainAssigner, Array]:
        """The classifier, and the domain (n,) of each row of the reference by cross-fitting.

        Reference rows are assigned as live ones are, by a classifier that has not seen them, so
        that both samples of a domain were selected by one rule. Rows of domains that are not
        in `domains` (too few to stand alone) are assigned too.
        """
        usable = np.isin(truth, domains)
        folds = assign_folds(truth, seed=seed)
        assigned = np.full(len(truth), "", dtype=object)
        for fold in [*fold_numbers(folds), NEVER_HELD_OUT]:
            out = folds == fold
            if out.any():
                model = _fitted(embeddings[usable & ~out], truth[usable & ~out], seed)
                assigned[out] = model.predict(embeddings[out])
        return DomainAssigner(domains, _fitted(embeddings[usable], truth[usable], seed)), assigned

    def assign(self, embeddings: Array) -> Array:
        """Domain (n,) of each row; '' where the embedding is not finite."""
        found = np.full(len(embeddings), "", dtype=object)
        finite = np.isfinite(embeddings).all(axis=1)
        if finite.any():
            found[finite] = self.model.predict(embeddings[finite])
        return found


def _fitted(embeddings: Array, truth: Array, seed: int) -> Any:
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    size = min(_COMPONENTS, *embeddings.shape)
    return make_pipeline(
        StandardScaler(),
        PCA(size, random_state=seed, svd_solver="randomized"),
        LogisticRegression(C=0.1, class_weight="balanced", max_iter=1000),
    ).fit(embeddings, truth.astype(str))
