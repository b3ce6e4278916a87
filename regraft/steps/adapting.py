"""Whether the head learns from unlabelled examples, of a shifted target or of its own domain."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from regraft.backbones.heads import LinearHead
from regraft.data.manifest import in_order, places
from regraft.progress import note

FEWEST = 3
"""Unlabelled target examples below which no label-free score can compare anything."""


@dataclass(frozen=True)
class AdaptedHead:
    """A head that learned from unlabelled examples, scaled to be calibrated, and how it was chosen.
    `head` is None where the labelled examples alone are better."""

    head: LinearHead | None
    card: dict[str, Any]


def adapted_head(
    rows: pd.DataFrame,
    classes: list[str],
    features: Path,
    shift: Path,
    options: dict[str, Any],
    *,
    seed: int,
) -> AdaptedHead | None:
    """Adapt where the manifest has unlabelled examples of another domain and `shift` says that they
    differ; None where not.

    `features` and `shift` are folders of these steps, `options` the recipe's adaptation section.
    """
    from regraft.evaluation.calibration import fit_temperature
    from regraft.evaluation.label_free import VALIDATORS
    from regraft.training.adaptation import adapt_head
    from regraft.training.domain_views import domains_of, in_one_domain

    how = dict(options)
    kind, when = how.pop("kind"), how.pop("when")
    how.pop("semi_supervised")
    unlabelled = int((rows["split"] == "unlabelled").sum())
    if not unlabelled or in_one_domain(rows):
        return None
    if unlabelled < FEWEST:
        note(f"{unlabelled} unlabelled target examples, fewer than {FEWEST}: no adaptation")
        return None
    verdict = json.loads((shift / "shift.json").read_text(encoding="utf-8"))
    if when == "shifted" and not verdict["shifted"]:
        note("the target does not differ from the source: no adaptation")
        return None
    archive = np.load(features / "features.npz")
    known = in_order(rows, archive["ids"])
    domains, groups = domains_of(
        known,
        archive["averaged"],
        dict(np.load(features / "views.npz")),
        classes,
        target_weight=how.pop("target_weight"),
    )
    beside = how.pop("pseudo_label_weight_beside_labels")
    if (domains.target_labels >= 0).any():
        how["pseudo_label_weight"] = beside
    found = adapt_head(
        domains, kind=kind, source_groups=groups, validators=VALIDATORS, seed=seed, **how
    )
    note(f"adaptation to the target: {found.card['chosen']}")
    temperature = fit_temperature(*found.held_out) if len(found.held_out[1]) else 1.0
    return AdaptedHead(found.head.scaled(1 / temperature), found.card)


def semi_supervised_head_of(
    rows: pd.DataFrame, classes: list[str], features: Path, options: dict[str, Any], *, seed: int
) -> AdaptedHead | None:
    """Where the unlabelled examples are of the labelled ones' own domain: the head that learned
    from both if that was better on held-out labels, and else `head` None; None where nothing was
    compared. `features` is the folder of that step, `options` the recipe's adaptation section.
    """
    from regraft.evaluation.calibration import fit_temperature
    from regraft.training.domain_views import in_one_domain
    from regraft.training.examples import split_of
    from regraft.training.semi_supervised import MOST_LABELLED, semi_supervised_head

    train = split_of(rows, "train", classes)
    unlabelled = rows[rows["split"] == "unlabelled"]
    if options["semi_supervised"] == "off" or not len(unlabelled) or not in_one_domain(rows):
        return None
    if len(train) > MOST_LABELLED:
        note(f"{len(train)} labelled examples: the unlabelled ones are not learned from")
        return None
    archive = np.load(features / "features.npz")
    averaged, ids = archive["averaged"], archive["ids"]
    found = semi_supervised_head(
        averaged[places(train.rows["id"], ids)],
        train.labels,
        train.rows["group"].to_numpy(str),
        averaged[places(unlabelled["id"], ids)],
        augmented=dict(np.load(features / "views.npz")).get("train"),
        class_balance=options["class_balance"],
        rounds=options["rounds"],
        pseudo_label_weight=options["pseudo_label_weight_beside_labels"],
        fit_temperature=fit_temperature,
        seed=seed,
    )
    note(f"unlabelled examples of the same domain: {found.card['chosen'].replace('_', ' ')}")
    return AdaptedHead(found.head, found.card)
