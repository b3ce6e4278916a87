"""What the run decided by itself, and why: adaptation, strategy, stages, and what they cost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

BACKGROUND = "source examples also on target backgrounds"


def choices(
    histories: Mapping[str, Mapping[str, Any]], metrics: Mapping[str, Any]
) -> dict[str, Any] | None:
    """{"adaptation", "semi_supervised", "strategy", "stages", "forgetting"}, each None or empty
    where there was nothing to choose; None where all are.

    `histories` are history.json by model, `metrics` those of summary.json.
    """
    histories = {name: history for name, history in histories.items() if history}
    adapted = next(_cards(histories, "adaptation"), None)
    semi = next(_cards(histories, "semi_supervised"), None)
    found = {
        "adaptation": adaptation(adapted) if adapted else None,
        "semi_supervised": semi_supervised(semi) if semi else None,
        "strategy": next(_cards(histories, "strategy"), None),
        "stages": [row for name, one in histories.items() for row in stage_rows(name, one)],
        "forgetting": forgetting(metrics),
    }
    return found if any(found.values()) else None


def adaptation(card: Mapping[str, Any]) -> dict[str, Any]:
    """The candidates with the chosen one marked, and a sentence on why it was.

    >>> rows = [{"kind": "source_only", "background": False, "information_maximisation": 0.4,
    ...          "target_classes": [9, 1], "allowed": True},
    ...         {"kind": "standardise", "background": False, "information_maximisation": 0.6,
    ...          "target_classes": [5, 5], "allowed": True}]
    >>> card = {"chosen": "standardise", "chosen_by": "information_maximisation",
    ...         "candidates": rows}
    >>> print(adaptation(card)["sentence"])
    Chosen: standardise, for the highest information maximisation (0.600; 0.400 without adaptation).
    """
    rows = [
        {
            **row,
            "chosen": row["kind"] == card["chosen"],
            "classes_used": sum(count > 0 for count in row["target_classes"]),
            "classes": len(row["target_classes"]),
            "largest_class": max(row["target_classes"]) / max(sum(row["target_classes"]), 1),
        }
        for row in card["candidates"]
    ]
    by = card["chosen_by"]
    return {"rows": rows, "chosen": card["chosen"], "chosen_by": by, "sentence": _why(rows, by)}


_REASONS = {
    "information_maximisation": "highest information maximisation",
    "target_log_loss": "lowest log loss on held-out target labels",
}
"""What a candidate is chosen by; `name` in a card means that nothing was: the recipe says it."""

_MEASURES = {
    "val_loss": "validation loss, the lowest",
    "target_score": "score of the unlabelled target, the highest",
}
"""What an epoch is chosen by."""


def _why(rows: list[dict[str, Any]], by: str) -> str:
    chosen = next(row for row in rows if row["chosen"])
    background = f", {BACKGROUND}" if chosen["background"] else ""
    named = f"{chosen['kind'].replace('_', ' ')}{background}"
    if len(rows) == 1:
        return f"The recipe asks for {named}: nothing was compared."
    if by == "name":
        return f"The recipe asks for {named}; the candidates beside it are for comparison."
    weighted = sorted((r for r in rows if r.get("weight")), key=lambda r: -r["weight"])
    if len(weighted) > 1:
        shares = ", ".join(
            f"{r['kind'].replace('_', ' ')} {100 * r['weight']:.0f}%" for r in weighted
        )
        return f"The head is an average, by log loss on held-out target labels: {shares}."
    score = f"{chosen[by]:.3f}"
    if chosen["kind"] == "source_only":
        return f"Chosen: no adaptation, because no candidate that keeps the source beats {score}."
    alone = next((row for row in rows if row["kind"] == "source_only"), None)
    beside = f"; {alone[by]:.3f} without adaptation" if alone else ""
    among = "" if all(row["allowed"] for row in rows) else " of those that keep the source"
    return f"Chosen: {named}, for the {_REASONS[by]}{among} ({score}{beside})."


def semi_supervised(card: Mapping[str, Any]) -> str:
    """A sentence on whether unlabelled examples taught the head.

    >>> rows = [{"kind": "labelled_only", "held_out_loss": 0.31},
    ...         {"kind": "self_training", "held_out_loss": 0.12}]
    >>> print(semi_supervised({"chosen": "self_training", "unlabelled": 90, "candidates": rows}))
    90 unlabelled examples taught the head: log loss on held-out labels 0.120, without them 0.310.
    """
    without, *others = (row["held_out_loss"] for row in card["candidates"])
    losses = f"log loss on held-out labels {min(others):.3f}, without them {without:.3f}"
    taught = "taught" if card["chosen"] == "self_training" else "did not teach"
    return f"{card['unlabelled']} unlabelled examples {taught} the head: {losses}."


def stage_rows(name: str, history: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What each stage after the first did to the best so far of what its epoch is chosen by: the
    validation loss, or the score of an unlabelled target; [] where there is only one stage, or
    nothing was measured."""
    measure = history.get("chosen", {}).get("by", "val_loss")
    better = max if measure == "target_score" else min
    rows: list[dict[str, Any]] = []
    best: float | None = None
    for stage in history["stages"]:
        known = [epoch[measure] for epoch in stage["epochs"] if epoch.get(measure) is not None]
        if not known:
            continue
        found = better(known)
        kept = stage["chosen_epoch"] is not None
        if best is not None:
            rows.append(
                {"model": name, "stage": stage["name"], "measure": _MEASURES[measure],
                 "before": best, "best": found, "kept": kept}
            )  # fmt: skip
        best = found if kept or best is None else best
    return rows


def forgetting(metrics: Mapping[str, Any]) -> dict[str, Any] | None:
    """Source accuracy of the probe before, and of each model after, with the points lost; None
    with one domain."""
    probe = (metrics.get("baselines") or {}).get("probe") or {}
    models = {who: metrics.get(who) or {} for who in ("teacher", "student")}
    if not {"source", "target"} <= set(probe):
        return None
    before = probe["source"]["accuracy"]
    after = {who: found["source"]["accuracy"] for who, found in models.items() if "source" in found}
    rows = [
        {"name": who, "source": accuracy, "drop_pp": 100 * (before - accuracy),
         "target": models[who].get("target", {}).get("accuracy")}
        for who, accuracy in after.items()
    ]  # fmt: skip
    known = {"before": before, "before_target": probe["target"]["accuracy"], "rows": rows}
    return known if rows else None


def _cards(histories: Mapping[str, Mapping[str, Any]], key: str) -> Iterator[Any]:
    return (history[key] for history in histories.values() if history.get(key))
