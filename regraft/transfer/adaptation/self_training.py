"""Class-balanced self-training: the surest answers become labels, round after round.

Source: Zou et al., "Unsupervised Domain Adaptation for Semantic Segmentation via Class-Balanced
Self-Training", ECCV 2018, sections 3.2 and 3.3: the share of answers that is believed grows, and is
taken per class, so that easy classes do not swallow the hard ones. Answers are first moved towards
the assumed class frequencies (Sinkhorn scaling, as in Caron et al., SwAV, NeurIPS 2020, section
3.1): balance * uniform + (1 - balance) * their own. Features are standardised per domain.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from regraft.transfer.adaptation.domains import TARGET, Domains, probabilities
from regraft.transfer.adaptation.standardise import PENALTY, standardised


def answers(
    domains: Domains,
    *,
    same: Domains | None = None,
    rounds: int = 5,
    pseudo_label_weight: float = 10.0,
    class_balance: float = 0.5,
    **options: Any,
) -> np.ndarray:
    """Probabilities (target examples, classes); known target labels stay what they are. `same` are
    the standardised domains where they are known already."""
    same = same or standardised(domains)
    return self_trained(
        same,
        same.known,
        penalty=PENALTY,
        rounds=rounds,
        pseudo_label_weight=pseudo_label_weight,
        class_balance=class_balance,
    )


def self_trained(
    same: Domains,
    known: np.ndarray,
    *,
    penalty: float,
    rounds: int,
    pseudo_label_weight: float,
    class_balance: float,
    anchored: bool = False,
) -> np.ndarray:
    """The same on features that need no standardising, taught by the labelled rows `known`.

    `anchored` takes the class frequencies that balance is mixed with from the first answers, not
    from those of each round, in which a class that swallows another would confirm itself.
    """
    unknown = np.flatnonzero(same.target_labels < 0)
    targets, weights = same.one_hot(known), same.weights[known]
    scores = same.scores(known, targets, weights, penalty=penalty)
    views = _views(same, unknown)
    first = same.target_scores(scores)[unknown].argmax(1)
    anchor = np.bincount(first, minlength=same.classes) / len(first) if anchored else None
    for number in range(1, rounds + 1):
        found = balanced(probabilities(same.target_scores(scores))[unknown], class_balance, anchor)
        believed = surest(found, share=number / rounds)
        rows = np.concatenate([views[place] for place in believed])
        labels = np.concatenate([np.full(len(views[p]), found[p].argmax()) for p in believed])
        one = pseudo_label_weight / sum(len(view) for view in views)
        scores = same.scores(
            np.concatenate([known, rows]),
            np.concatenate([targets, np.eye(same.classes)[labels]]),
            np.concatenate([weights, np.full(len(rows), one)]),
            penalty=penalty,
        )
    return balanced(probabilities(same.target_scores(scores)), class_balance, anchor)


def balanced(
    answers: np.ndarray, balance: float, anchor: np.ndarray | None = None, *, rounds: int = 20
) -> np.ndarray:
    """Probabilities (n, classes) whose class frequencies are moved towards equal ones, from their
    own or from `anchor` (classes,).

    >>> balanced(np.array([[0.9, 0.1], [0.6, 0.4]]), 1.0).mean(0).round(2).tolist()
    [0.5, 0.5]
    """
    own = answers.mean(0) if anchor is None else anchor
    wanted = balance / answers.shape[1] + (1 - balance) * own
    found = np.maximum(answers, 1e-12)
    for _ in range(rounds):
        found = found * (wanted / found.mean(0))
        found = found / found.sum(1, keepdims=True)
    return np.asarray(found)


def surest(answers: np.ndarray, *, share: float) -> np.ndarray:
    """Numbers of the surest `share` of the answers to each class, at least one each.

    >>> surest(np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]]), share=0.5).tolist()
    [0, 2]
    """
    labels, sureness = answers.argmax(1), answers.max(1)
    chosen = []
    for label in np.unique(labels):
        own = np.flatnonzero(labels == label)
        best = own[np.argsort(-sureness[own], kind="stable")]
        chosen.append(best[: int(np.ceil(share * len(own)))])
    return np.sort(np.concatenate(chosen))


def _views(domains: Domains, examples: np.ndarray) -> list[np.ndarray]:
    """Rows of the views of each of these target examples."""
    rows = np.flatnonzero(domains.domain == TARGET)
    own: dict[int, list[int]] = {}
    for row in rows:
        own.setdefault(int(domains.example[row]), []).append(int(row))
    return [np.array(own[int(number)]) for number in examples]
