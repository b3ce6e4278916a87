"""A head for an unlabelled target: candidates compared without target labels, the best taught on.

Candidates differ in the kind of adaptation and in whether photos with a plain background are also
shown on backgrounds of the target (where the task can cut them out). Each ends as one linear head
(`consolidated`). They are ranked by information maximisation of their answers on the target; one
that forgets more of the source than allowed is out, and a target that does not differ is left alone
by the caller.
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

Validator = Callable[[Any, Any], float]
_FOLDS = 3
ADAPTIVE = ("standardise", "self_training")


@dataclass(frozen=True)
class Adapted:
    """The head that was chosen, and how.

    `card` holds `chosen` and, per candidate, its scores. `held_out` are logits and labels (target
    labels where known, else the adapted answers' own) of examples that the head had not seen, for
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
    """Compare the candidates of `kind` (`auto`: all) and return the best head.

    `how` are the other fields of the recipe's adaptation section, `source_groups` (s,) the groups
    of near-duplicates of the source examples, `validators` label-free scores (features,
    probabilities) -> score, one of them information_maximisation.
    """
    folds = assign_folds(domains.source_labels, source_groups, folds=_FOLDS, seed=seed)
    candidates = [_candidate(domains, "source_only", folds, validators, how)]
    for own in ADAPTIVE if kind == "auto" else () if kind == "source_only" else (kind,):
        candidates.append(_candidate(domains, own, folds, validators, how))
    floor = candidates[0]["source_accuracy"] - max_source_drop_pp / 100
    for candidate in candidates:
        candidate["allowed"] = bool(candidate["source_accuracy"] >= floor)
    ranked = sorted(
        (c for c in candidates if c["allowed"]), key=lambda c: -c["information_maximisation"]
    )
    best = ranked[0]
    if kind != "auto":  # asked for by name: said in the card if it forgets, but done
        best = candidates[-1]
    shown = [{k: v for k, v in c.items() if k not in {"head", "held_out"}} for c in candidates]
    card = {"chosen": best["kind"], "candidates": shown, "background": best["background"]}
    return Adapted(best["head"], card, best["held_out"])


def _candidate(
    domains: Domains,
    kind: str,
    folds: np.ndarray,
    validators: Mapping[str, Validator],
    how: dict[str, Any],
) -> dict[str, Any]:
    composed = kind != "source_only" and bool((domains.domain == COMPOSED).any())
    own = domains if composed else domains.without_composed()
    found = None if kind == "source_only" else answers(kind, own, **how)
    weight = how["pseudo_label_weight"]
    head = consolidated(own, found, pseudo_label_weight=weight)
    said = _target_answers(own, head)
    unknown = own.target_labels < 0
    scores = {name: score(said[unknown], said[unknown]) for name, score in validators.items()}
    logits, labels, accuracy = _held_out(own, found, folds, weight)
    return {
        "kind": kind,
        "background": composed,
        **{name: round(float(value), 4) for name, value in scores.items()},
        "source_accuracy": round(accuracy, 4),
        "target_classes": np.bincount(said.argmax(1), minlength=own.classes).tolist(),
        "head": head,
        "held_out": (logits, labels),
    }


def _target_answers(domains: Domains, head: LinearHead) -> np.ndarray:
    return probabilities(domains.target_scores(head.logits(domains.features)))


def _held_out(
    domains: Domains, found: np.ndarray | None, folds: np.ndarray, weight: float
) -> tuple[np.ndarray, np.ndarray, float]:
    """Logits and labels of source and target examples by heads that had not seen them, and the
    accuracy on the source ones."""
    target_folds = np.arange(len(domains.target_labels)) % _FOLDS
    target = domains.domain == TARGET
    fold = np.where(target, -1, 0)
    fold[target] = target_folds[domains.example[target]]
    fold[~target] = folds[domains.example[~target]]
    truth = domains.labels.copy()
    if found is not None:
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
