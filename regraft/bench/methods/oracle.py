"""The best adaptation by the target's test labels, which no user has: a bound, not a method."""

from __future__ import annotations

from typing import Any

from regraft.bench.methods.recipe import scores, train
from regraft.bench.prepared import Prepared


def measure(prepared: Prepared, *, kinds: list[str]) -> dict[str, Any]:
    """{"oracle": {"test", "source", "target"}} of the best of these kinds of adaptation."""
    found = []
    for kind in kinds:
        options = prepared.values["finetune"]
        adaptation = options["adaptation"] | {"kind": kind}
        folder = train(prepared, options | {"adaptation": adaptation}, f"teacher-{kind}")
        found.append(scores(prepared, folder))
    return {"oracle": max(found, key=lambda one: one["target"]["accuracy"])}
