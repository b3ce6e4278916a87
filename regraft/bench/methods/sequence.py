"""Tasks learned one after the other by one model: what it knows at the end, what it forgot."""

from __future__ import annotations

from typing import Any

from regraft.bench.prepared import Prepared
from regraft.steps.sequence import sequence


def measure(prepared: Prepared) -> dict[str, Any]:
    """{"sequence": {"average_accuracy", "forgetting", ...}} of the recipe's method."""
    values = prepared.values
    with prepared.timed("finetune"):
        report = sequence(
            **{name: values[name] for name in ("task", "data", "backbone", "features", "finetune")},
            options=values["sequence"],
            seed=prepared.recipe.seed,
            code_version="bench",
            out_dir=prepared.own / "sequence",
        )
    return {"sequence": report["methods"][values["sequence"]["method"]]}
