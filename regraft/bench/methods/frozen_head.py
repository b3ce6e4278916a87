"""A head on frozen features, the backbone untouched: the few-shot path."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import softmax

from regraft.bench.methods.recipe import tested
from regraft.bench.prepared import Prepared
from regraft.data.manifest import in_order, places
from regraft.evaluation.calibration import fit_temperature
from regraft.steps.measuring import metrics_of
from regraft.training.probe import fit_probe


def measure(prepared: Prepared, *, head: str) -> dict[str, Any]:
    """{"head": {"test", "source", "target"}} of a head of this kind."""
    archive = np.load(prepared.features / "features.npz")
    rows = in_order(prepared.rows, archive["ids"])
    averaged, augmented, seed = archive["averaged"], prepared.augmented, prepared.recipe.seed
    with prepared.timed("finetune"):
        probe = fit_probe(rows, averaged, seed=seed, augmented=augmented, kind=head)
    labels = probe.held_out_labels
    temperature = fit_temperature(probe.held_out_logits, labels) if len(labels) else 1.0
    test = tested(prepared, probe.classes)
    logits = probe.head.logits(averaged[places(test["id"], archive["ids"])])
    found = softmax(logits / temperature, axis=1)
    return {"head": metrics_of(test, found, probe.classes, prepared.domains, seed)}
