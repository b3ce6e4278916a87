"""One head for both domains: taught by the source's labels and the adapted answers together.

Adapted answers come from features that were standardised with the target's statistics, which a
source photo would not fit. A head on the features as they are, fitted to the labels of the source
and the (soft) answers on the target, needs no statistics when it serves and keeps what it knew of
the source: distillation of the adapted model into its own family (Hinton et al. 2015; Furlanello
et al., "Born-Again Neural Networks", ICML 2018).
"""

from __future__ import annotations

import numpy as np

from regraft.backbones.heads import LinearHead
from regraft.transfer.adaptation.domains import TARGET, Domains
from regraft.transfer.adaptation.source_only import PENALTY


def consolidated(
    domains: Domains,
    answers: np.ndarray | None,
    *,
    pseudo_label_weight: float,
    left_out: np.ndarray | None = None,
) -> LinearHead:
    """A linear head from known labels and `answers` (target examples, classes) where none is.

    Parameters
    ----------
    answers : None teaches the known labels alone.
    left_out : (rows,) True for rows that must not be learned from.
    """
    allowed = np.ones(len(domains.features), bool) if left_out is None else ~left_out
    known = domains.known[allowed[domains.known]]
    rows, targets, weights = known, domains.one_hot(known), domains.weights[known]
    asked = np.flatnonzero((domains.domain == TARGET) & (domains.labels < 0) & allowed)
    if answers is not None and pseudo_label_weight and len(asked):
        rows = np.concatenate([rows, asked])
        targets = np.concatenate([targets, answers[domains.example[asked]]])
        weights = np.concatenate([weights, np.full(len(asked), pseudo_label_weight / len(asked))])
    return domains.head(rows, targets, weights, penalty=PENALTY)
