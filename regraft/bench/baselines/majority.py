"""The commonest class of the training examples, whatever the photo shows."""

from __future__ import annotations

from typing import Any

from regraft.bench.methods.recipe import tested
from regraft.bench.prepared import Prepared
from regraft.evaluation.metrics import class_numbers, prior_probabilities
from regraft.steps.measuring import metrics_of


def measure(prepared: Prepared) -> dict[str, Any]:
    """{"majority": {"test", "source", "target"}}."""
    labels = prepared.rows.loc[prepared.rows["split"].isin(["train", "val"]), "label"].tolist()
    classes = sorted(set(labels))
    test = tested(prepared, classes)
    found = prior_probabilities(class_numbers(labels, classes), len(test), len(classes))
    seed, domains = prepared.recipe.seed, prepared.domains
    return {"majority": metrics_of(test, found, classes, domains, seed)}
