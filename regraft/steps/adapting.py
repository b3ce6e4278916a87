"""Whether the head is adapted to an unlabelled target, and with what."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from regraft.backbones.heads import LinearHead
from regraft.data.manifest import in_order
from regraft.progress import note

FEWEST = 3
"""Unlabelled target examples below which no label-free score can compare anything."""


@dataclass(frozen=True)
class AdaptedHead:
    """A head for both domains, scaled to be calibrated, and how it was chosen."""

    head: LinearHead
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
    """Adapt where the manifest has unlabelled target examples and `shift` says that they differ;
    None where not.

    `features` and `shift` are folders of these steps, `options` the recipe's adaptation section.
    """
    from regraft.evaluation.calibration import fit_temperature
    from regraft.evaluation.label_free import VALIDATORS
    from regraft.training.adaptation import adapt_head
    from regraft.training.domain_views import domains_of

    how = dict(options)
    kind, when = how.pop("kind"), how.pop("when")
    unlabelled = int((rows["split"] == "unlabelled").sum())
    if not unlabelled:
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
