"""A head that also learns from unlabelled examples of the same domain, where that is shown to help.

Candidates are the labelled examples alone, and class-balanced self-training on the unlabelled ones
too, whose class frequencies are those of the first answers, moved some way towards equal ones. They
are compared by the log loss on held-out folds of the labelled examples: no further label is needed,
and a pool whose classes are so uneven that self-training harms shows there. A score that sees no
label would not do: it likes the even answers that such a pool should not have.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from regraft.backbones.heads import LinearHead
from regraft.shift.cross_validation import assign_folds, fold_numbers
from regraft.transfer.adaptation.consolidate import consolidated
from regraft.transfer.adaptation.domains import SOURCE, TARGET, Domains
from regraft.transfer.adaptation.self_training import self_trained
from regraft.transfer.adaptation.source_only import PENALTY

MOST_UNLABELLED = 1500
"""More are left out: solving grows with the cube of the number, and the gain had levelled off."""

MOST_LABELLED = 2000
"""With more the caller leaves the pool alone: hundreds of labels per class need no guesses."""

Temperature = Callable[[np.ndarray, np.ndarray], float]


@dataclass(frozen=True)
class SemiSupervised:
    """`head` has calibrated logits and is None where the labelled examples alone are better; `card`
    says what was compared."""

    head: LinearHead | None
    card: dict[str, Any]


def semi_supervised_head(
    labelled: np.ndarray,
    labels: np.ndarray,
    groups: np.ndarray,
    unlabelled: np.ndarray,
    *,
    augmented: np.ndarray | None = None,
    class_balance: float,
    rounds: int,
    pseudo_label_weight: float,
    fit_temperature: Temperature,
    seed: int,
) -> SemiSupervised:
    """Compare the candidates and return the best head.

    Parameters
    ----------
    labelled, labels, groups : (n, dim) features of length 1, (n,) class numbers 0.. without a gap,
        (n,) groups of near-duplicates.
    unlabelled : (m, dim) features; of more than `MOST_UNLABELLED` an evenly spaced part is read.
    augmented : (n, views, dim), further views of the labelled examples.
    class_balance, rounds, pseudo_label_weight : see `recipe.adaptation`; the weight is that of all
        unlabelled examples together, all labelled ones together weigh 1.
    fit_temperature : (logits, labels) to the temperature that makes them calibrated.
    """
    pool = unlabelled[_evenly(len(unlabelled), MOST_UNLABELLED)]
    domains = _domains(labelled, labels, pool, augmented)
    folds = assign_folds(labels, groups, seed=seed)
    how = {"rounds": rounds, "pseudo_label_weight": pseudo_label_weight}
    balances = [None, *sorted({class_balance / 2, class_balance})]
    candidates = []
    for balance in balances:
        fit = partial(_fit, domains, balance=balance, how=how)
        logits = _held_out(domains, folds, fit)
        candidates.append(_judged(logits, labels, folds, balance, fit_temperature))
    best = min(candidates, key=lambda one: one["held_out_loss"])  # a tie goes to the labels alone
    card = {
        "chosen": best["kind"],
        "unlabelled": len(pool),
        "candidates": [{k: v for k, v in c.items() if k != "temperature"} for c in candidates],
    }
    if best["kind"] == "labelled_only":
        return SemiSupervised(None, card)
    head = _fit(domains, None, balance=best["class_balance"], how=how)
    return SemiSupervised(head.scaled(1 / best["temperature"]), card)


def _evenly(count: int, most: int) -> np.ndarray:
    """`most` positions of `count`, evenly spaced; all of them where there are no more."""
    return np.linspace(0, count - 1, min(count, most)).round().astype(int)


def _domains(
    labelled: np.ndarray, labels: np.ndarray, pool: np.ndarray, augmented: np.ndarray | None
) -> Domains:
    """The labelled examples as source, the pool as target."""
    n, dim = labelled.shape
    views = np.zeros((n, 0, dim)) if augmented is None else augmented
    more = views.shape[1]
    parts = [labelled, views.reshape(-1, dim), pool]
    examples = [np.arange(n), np.repeat(np.arange(n), more), np.arange(len(pool))]
    return Domains(
        features=np.concatenate(parts).astype(np.float32),
        domain=np.repeat([SOURCE, TARGET], [n * (1 + more), len(pool)]),
        example=np.concatenate(examples),
        source_labels=labels,
        target_labels=np.full(len(pool), -1),
        classes=int(labels.max()) + 1,
    )


def _fit(
    domains: Domains, left_out: np.ndarray | None, *, balance: float | None, how: dict[str, Any]
) -> LinearHead:
    """The head without the rows `left_out`; without the pool where `balance` is None."""
    known = domains.known if left_out is None else domains.known[~left_out[domains.known]]
    answers = None
    if balance is not None:
        answers = self_trained(
            domains, known, penalty=PENALTY, class_balance=balance, anchored=True, **how
        )
    weight = how["pseudo_label_weight"]
    return consolidated(domains, answers, pseudo_label_weight=weight, left_out=left_out)


def _held_out(domains: Domains, folds: np.ndarray, fit: Callable[..., LinearHead]) -> np.ndarray:
    """Logits (n, classes) of each labelled example by a head that has not seen its fold."""
    source = domains.domain == SOURCE
    logits = np.zeros((len(folds), domains.classes))
    for fold in fold_numbers(folds):
        left_out = np.zeros(len(source), bool)
        left_out[source] = (folds == fold)[domains.example[source]]
        own = np.flatnonzero(folds == fold)  # the first n rows are the examples as they are
        logits[own] = fit(left_out).logits(domains.features[own])
    return logits


def _judged(
    logits: np.ndarray,
    labels: np.ndarray,
    folds: np.ndarray,
    balance: float | None,
    fit_temperature: Temperature,
) -> dict[str, Any]:
    """Log loss at its best temperature, and accuracy, on the examples that are in a fold."""
    seen = folds >= 0
    kind = "labelled_only" if balance is None else "self_training"
    card = {"kind": kind, "class_balance": balance}
    if not seen.any():  # one example per class: nothing shows that more than the labels helps
        worst = 0.0 if balance is None else 1.0
        return card | {"held_out_loss": worst, "held_out_accuracy": None, "temperature": 1.0}
    own, truth = logits[seen], labels[seen]
    temperature = fit_temperature(own, truth)
    scaled = own / temperature
    shifted = scaled - scaled.max(1, keepdims=True)
    log_odds = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    return card | {
        "held_out_loss": round(float(-log_odds[np.arange(len(truth)), truth].mean()), 4),
        "held_out_accuracy": round(float((own.argmax(1) == truth).mean()), 4),
        "temperature": temperature,
    }
