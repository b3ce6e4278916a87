"""A head for an unlabelled target: candidates compared without target labels, the best taught on.

Candidates differ in the kind of adaptation and in whether photos with a plain background are also
shown on backgrounds of the target (where the task can cut them out). Each ends as one linear head
(`consolidated`). They are ranked by information maximisation of their answers on the target, and
the best is taken. Where the target has some labels of every class, their log loss on these, each
left out in turn, says how far each is to be believed, and the head is their average by these
weights (`_evidence`): a few dozen labels seldom tell two candidates apart, and taking one of a tie
is a coin toss. One that forgets more of the source than allowed is out, and a target that does not
differ is left alone by the caller.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from regraft.backbones.heads import LinearHead
from regraft.shift.cross_validation import assign_folds
from regraft.transfer.adaptation import answers
from regraft.transfer.adaptation.consolidate import consolidated
from regraft.transfer.adaptation.domains import COMPOSED, TARGET, Domains, probabilities
from regraft.transfer.adaptation.standardise import standardised

Validator = Callable[[Any, Any], float]
_FOLDS = 3
ENOUGH_LABELS = 5
"""Labelled target examples of every class from which on they weigh the candidates: as many as
there are folds, so that every fold leaves out some of each class."""
_TARGET_FOLDS = ENOUGH_LABELS
ADAPTIVE = ("standardise", "self_training")


@dataclass(frozen=True)
class Adapted:
    """The head that was chosen, and how.

    `card` holds `chosen` and, per candidate, its scores, and its `weight` where several make the
    head (`chosen` is then the heaviest). `held_out` are logits and labels (of the target where
    known, the adapted answers' own where too few are) of examples that the head had not seen, for
    the temperature.
    """

    head: LinearHead
    card: dict[str, Any]
    held_out: tuple[np.ndarray, np.ndarray]


def adapt_head(
    domains: Domains,
    *,
    kind: str,
    source_groups: np.ndarray,
    validators: Mapping[str, Validator],
    max_source_drop_pp: float,
    seed: int,
    **how: Any,
) -> Adapted:
    """Compare the candidates of `kind` (`auto`: all) and return the best head, or their average.

    `how` are the other fields of the recipe's adaptation section, `source_groups` (s,) the groups
    of near-duplicates of the source examples, `validators` label-free scores (features,
    probabilities) -> score, one of them information_maximisation.
    """
    folds = assign_folds(domains.source_labels, source_groups, folds=_FOLDS, seed=seed)
    same = None if kind == "source_only" else standardised(domains)
    candidates = [_candidate(domains, None, "source_only", folds, validators, how)]
    for own in ADAPTIVE if kind == "auto" else () if kind == "source_only" else (kind,):
        candidates.append(_candidate(domains, same, own, folds, validators, how))
    floor = candidates[0]["source_accuracy"] - max_source_drop_pp / 100
    for candidate in candidates:
        candidate["allowed"] = bool(candidate["source_accuracy"] >= floor)
    allowed = [c for c in candidates if c["allowed"]]
    if kind != "auto":  # asked for by name: said in the card if it forgets, but done
        best, chosen_by = candidates[-1], "name"
    elif _has_enough_labels(domains):
        best, chosen_by = _averaged(allowed, (domains.target_labels >= 0).sum()), "target_log_loss"
    else:
        chosen_by = "information_maximisation"
        best = max(allowed, key=lambda c: c["information_maximisation"])
    shown = [{k: v for k, v in c.items() if k not in {"head", "held_out"}} for c in candidates]
    card = {"chosen": best["kind"], "chosen_by": chosen_by, "candidates": shown,
            "background": best["background"]}  # fmt: skip
    return Adapted(best["head"], card, best["held_out"])


def _averaged(candidates: list[dict[str, Any]], labels: int) -> dict[str, Any]:
    """The heaviest of the candidates, with the weighted average of all their heads. Each gets its
    weight, its share of `_evidence` after `labels` labels."""
    weights = _evidence([c["target_log_loss"] for c in candidates], labels)
    for candidate, weight in zip(candidates, weights, strict=True):
        candidate["weight"] = round(float(weight), 4)
    heaviest = max(candidates, key=lambda c: c["weight"])
    heads = [c["head"] for c in candidates]
    head = LinearHead(
        np.average([one.weight for one in heads], axis=0, weights=weights),
        np.average([one.bias for one in heads], axis=0, weights=weights),
        heads[0].strength,
    )
    logits = np.average([c["held_out"][0] for c in candidates], axis=0, weights=weights)
    return heaviest | {"head": head, "held_out": (logits, heaviest["held_out"][1])}


def _evidence(losses: list[float], labels: int) -> np.ndarray:
    """Pseudo-Bayesian-model-averaging weights (candidates,): proportional to the likelihood of the
    held-out labels, exp(-labels * mean log loss).

    Source: Yao, Vehtari, Simpson and Gelman, "Using Stacking to Average Bayesian Predictive
    Distributions", Bayesian Analysis 13(3), 2018, section 3.4.

    >>> _evidence([0.30, 0.30, 0.90], 60).round(2).tolist()
    [0.5, 0.5, 0.0]
    """
    odds = np.exp(-labels * (np.array(losses) - min(losses)))
    return np.asarray(odds / odds.sum())


def _candidate(
    domains: Domains,
    same: Domains | None,
    kind: str,
    folds: np.ndarray,
    validators: Mapping[str, Validator],
    how: dict[str, Any],
) -> dict[str, Any]:
    composed = same is not None and bool((domains.domain == COMPOSED).any())
    own = domains if same else domains.without_composed()
    found = answers(kind, own, same=same, **how) if same else None
    weight = how["pseudo_label_weight"]
    head = consolidated(own, found, pseudo_label_weight=weight)
    said = _target_answers(own, head)
    unknown = own.target_labels < 0
    scores = {name: score(said[unknown], said[unknown]) for name, score in validators.items()}
    logits, labels, accuracy = _held_out(own, found, folds, weight)
    if _has_enough_labels(own):
        scores["target_log_loss"] = _target_log_loss(own, same, kind, how)
    return {
        "kind": kind,
        "background": composed,
        **{name: round(float(value), 4) for name, value in scores.items()},
        "source_accuracy": round(accuracy, 4),
        "target_classes": np.bincount(said.argmax(1), minlength=own.classes).tolist(),
        "head": head,
        "held_out": (logits, labels),
    }


def _has_enough_labels(domains: Domains) -> bool:
    known = domains.target_labels[domains.target_labels >= 0]
    return bool(np.bincount(known, minlength=domains.classes).min() >= ENOUGH_LABELS)


def _target_log_loss(
    domains: Domains, same: Domains | None, kind: str, how: dict[str, Any]
) -> float:
    """Mean over the labelled target examples, each answered by a head that had not seen its label.

    The whole adaptation is repeated without the labels of a fold: answers that were found with a
    label would give it away.
    """
    labels = domains.target_labels
    known = np.flatnonzero(labels >= 0)
    fold = np.full(len(labels), -1)
    for label in range(domains.classes):
        own = known[labels[known] == label]
        fold[own] = np.arange(len(own)) % _TARGET_FOLDS
    losses = np.zeros(len(labels))
    for number in range(_TARGET_FOLDS):
        out = fold == number
        hidden = np.where(out, -1, labels)
        without = domains.relabelled(hidden)
        found = answers(kind, without, same=same.relabelled(hidden), **how) if same else None
        rows = domains.domain == TARGET
        rows[rows] = out[domains.example[rows]]
        head = consolidated(
            without, found, pseudo_label_weight=how["pseudo_label_weight"], left_out=rows
        )
        said = _target_answers(domains, head)
        losses[out] = -np.log(said[out, labels[out]] + 1e-12)
    return float(losses[known].mean())


def _target_answers(domains: Domains, head: LinearHead) -> np.ndarray:
    return probabilities(domains.target_scores(head.logits(domains.features)))


def _held_out(
    domains: Domains, found: np.ndarray | None, folds: np.ndarray, weight: float
) -> tuple[np.ndarray, np.ndarray, float]:
    """Logits and labels of source and target examples by heads that had not seen them, and the
    accuracy on the source ones. Without enough target labels, answers stand in for them."""
    target_folds = np.arange(len(domains.target_labels)) % _FOLDS
    target = domains.domain == TARGET
    fold = np.where(target, -1, 0)
    fold[target] = target_folds[domains.example[target]]
    fold[~target] = folds[domains.example[~target]]
    truth = domains.labels.copy()
    if found is not None and not _has_enough_labels(domains):
        guessed = target & (truth < 0)
        truth[guessed] = found[domains.example[guessed]].argmax(1)
    plain = np.flatnonzero(domains.first_view & (truth >= 0) & (fold >= 0))
    logits = np.zeros((len(domains.features), domains.classes))
    for number in range(_FOLDS):
        out = fold == number
        head = consolidated(domains, found, pseudo_label_weight=weight, left_out=out)
        logits[out] = head.logits(domains.features[out])
    right = logits.argmax(1) == truth
    source = plain[~target[plain]]
    # few examples of many sources: calibrate on what will be served, the target
    asked = plain[target[plain]] if target[plain].any() else source
    return logits[asked], truth[asked], float(right[source].mean())
