"""From the files that the steps hand over to the content of a report: plain functions, plain data.

The schema is described in `report.write_report`. Nothing here knows about pictures or HTML.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from regraft.errors import UserError
from regraft.evaluation import metrics as scoring
from regraft.evaluation.advice import attention
from regraft.evaluation.calibration import (
    expected_calibration_error,
    reliability_bins,
    risk_coverage,
)
from regraft.evaluation.choices import choices
from regraft.evaluation.examples import Show, worst_mistakes
from regraft.evaluation.headline import tiles, verdict
from regraft.evaluation.slices import slice_table

BASELINES = {
    "majority": "majority class",
    "probe": "probe on frozen features",
    "scratch": "trained from scratch",
    "full_fine_tuning": "plain full fine-tuning",
}
_MOST_PAIRS = 8


def assemble(
    *,
    recipe: str,
    served: str,
    classes: Sequence[str],
    predictions: pd.DataFrame,
    probabilities: ArrayLike,
    metrics: Mapping[str, Any],
    show: Show,
    uncalibrated: ArrayLike | None = None,
    temperature: float = 1.0,
    histories: Mapping[str, Mapping[str, Any]] | None = None,
    timing: Mapping[str, Mapping[str, float]] | None = None,
    quality: Mapping[str, Any] | None = None,
    shift: Mapping[str, Any] | None = None,
    ranking: Sequence[Mapping[str, Any]] | None = None,
    steps: Sequence[Mapping[str, Any]] | None = None,
    decision: Mapping[str, Any] | None = None,
    method: Mapping[str, Any] | None = None,
    card: Mapping[str, Any] | None = None,
    missing: Mapping[str, str] | None = None,
    slicing: Mapping[str, Mapping[str, str]] | None = None,
    noun: str = "images",
    seed: int = 0,
) -> dict[str, Any]:
    """Build the content of report and model card for the served model's test predictions.

    `predictions` and `probabilities` (n, classes) are row by row those of the served model on the
    test split; `uncalibrated` the same before temperature scaling. `metrics` is that of
    summary.json. `histories` and `timing` are keyed teacher/student; `timing` values may hold
    throughput_per_second, latency_ms, size_bytes, parameters, cpu_seconds. `slicing` holds
    keyword arguments for `slices.slice_table`. `missing` says why a section is not there.
    """
    if predictions.empty:
        raise UserError("a report needs at least one test example", got="0 predictions")
    if len(predictions) != len(np.asarray(probabilities)):
        raise UserError(
            "predictions and probabilities differ in length",
            got=f"{len(predictions)} and {len(np.asarray(probabilities))}",
        )
    labels = scoring.class_numbers(predictions["label"].tolist(), classes)
    content: dict[str, Any] = {
        "recipe": recipe,
        "served": served,
        "noun": noun,
        "decision": dict(decision) if decision else None,
        "results": {"rows": result_rows(metrics, served)},
        "confusion": confusion(labels, probabilities, classes),
        "reliability": reliability(labels, probabilities, uncalibrated, temperature),
        "slices": slices(predictions, slicing or {}, seed),
        "mistakes": mistakes(predictions, probabilities, classes, show),
        "choices": choices(histories or {}, metrics),
        "learning": [{"name": name, "history": h} for name, h in (histories or {}).items() if h],
        "distillation": distillation(metrics, timing or {}),
        "shift": shift_section(shift, show),
        "quality": dict(quality) if quality else None,
        "ranking": [dict(row) for row in ranking or []],
        "cost": cost(steps or []),
        "method": dict(method or {}),
        "card": dict(card or {}),
        "missing": dict(missing or {}),
    }
    content["tiles"] = tiles(content)
    content["verdict"] = verdict(content)
    content["attention"] = attention(content)
    return content


def with_outcome(
    content: Mapping[str, Any],
    decision: Mapping[str, Any],
    steps: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """Return the content of a report written before the gate (or read from JSON), now with the
    decision, the verdict that tells it, and the cost of the steps if they are given.
    """
    known = {**content, "decision": dict(decision)}
    if steps:
        known["cost"] = cost(steps)
    return known | {"verdict": verdict(known)}


def result_rows(metrics: Mapping[str, Any], served: str) -> list[dict[str, Any]]:
    """One row per model (or baseline) and split, best accuracy first within a split.

    Two names of one split (`source` and the name of that domain) make one row.
    """
    models = [(who, who, metrics.get(who) or {}) for who in ("teacher", "student")]
    baselines = [
        (key, BASELINES.get(key, key.replace("_", " ")), _by_split(value))
        for key, value in (metrics.get("baselines") or {}).items()
    ]
    rows = [
        _result_row(key, name, split, figures, key == served and split == "test")
        for key, name, found in [*models, *baselines]
        for split, figures in _distinct(found).items()
    ]
    return sorted(rows, key=lambda row: (row["split"] != "test", row["split"], -row["accuracy"]))


def confusion(
    labels: np.ndarray, probabilities: ArrayLike, classes: Sequence[str]
) -> dict[str, Any]:
    """Counts (true, predicted), the figures per class and the commonest mix-ups."""
    scores = scoring.check_probabilities(probabilities)
    figures = scoring.classification_metrics(labels, scores, classes=classes, replicates=2)
    counts = scoring.confusion_counts(labels, scores.argmax(axis=1), len(classes))
    mixed = counts - np.diag(np.diag(counts))
    order = np.argsort(-mixed, axis=None, kind="stable")[:_MOST_PAIRS]
    places = [np.unravel_index(place, mixed.shape) for place in order]
    return {
        "classes": list(classes),
        "counts": counts.tolist(),
        "accuracy": figures["accuracy"],
        "per_class": figures["per_class"],
        "pairs": [
            {
                "true": classes[row],
                "predicted": classes[column],
                "count": int(mixed[row, column]),
                "share": float(mixed[row, column] / counts[row].sum()),
            }
            for row, column in places
            if mixed[row, column]
        ],
    }


def reliability(
    labels: np.ndarray,
    probabilities: ArrayLike,
    uncalibrated: ArrayLike | None,
    temperature: float,
) -> dict[str, Any]:
    """Bins before and after temperature scaling, both errors, and accuracy against coverage."""
    before = None if uncalibrated is None else reliability_bins(labels, uncalibrated)
    return {
        "count": len(labels),
        "before": before,
        "after": reliability_bins(labels, probabilities),
        "ece_before": (
            None if uncalibrated is None else expected_calibration_error(labels, uncalibrated)
        ),
        "ece_after": expected_calibration_error(labels, probabilities),
        "temperature": float(temperature),
        "coverage": risk_coverage(labels, probabilities),
    }


def slices(
    predictions: pd.DataFrame, slicing: Mapping[str, Mapping[str, str]], seed: int
) -> dict[str, Any] | None:
    """The slice table beside the overall accuracy; None if there is nothing to slice by."""
    rows = slice_table(predictions, seed=seed, **slicing)
    overall = float((predictions["label"] == predictions["predicted"]).mean())
    return {"rows": rows, "overall": overall} if rows else None


def mistakes(
    predictions: pd.DataFrame, probabilities: ArrayLike, classes: Sequence[str], show: Show
) -> dict[str, Any]:
    """The worst mistakes and how many there are in all."""
    return {
        "examples": worst_mistakes(predictions, probabilities, classes, show),
        "total": int((predictions["label"] != predictions["predicted"]).sum()),
        "count": len(predictions),
    }


def distillation(
    metrics: Mapping[str, Any], timing: Mapping[str, Mapping[str, float]]
) -> dict[str, Any] | None:
    """Teacher beside student: retention (share of accuracy kept), speed-up and size."""
    rows = [
        {"name": who, "accuracy": figures["accuracy"], "macro_f1": figures["macro_f1"]}
        | dict(timing.get(who, {}))
        for who in ("teacher", "student")
        if (figures := (metrics.get(who) or {}).get("test"))
    ]
    if len(rows) < 2:
        return None
    return {
        "rows": rows,
        "retention": _ratio(rows[1], rows[0], "accuracy"),
        "speedup": _ratio(rows[1], rows[0], "throughput_per_second"),
        "shrinkage": _ratio(rows[0], rows[1], "size_bytes"),
        "search": (metrics.get("student") or {}).get("search"),
    }


def shift_section(shift: Mapping[str, Any] | None, show: Show) -> dict[str, Any] | None:
    """shift.json with its most shifted examples shown; None without a comparison."""
    if not shift or not shift.get("comparisons"):
        return None
    comparisons = [
        {**row, "examples": [{"id": str(i), **show(str(i))} for i in row["most_shifted"][:12]]}
        for row in shift["comparisons"]
    ]
    return {**shift, "comparisons": comparisons}


def cost(steps: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Seconds of each step and their sums."""
    if not steps:
        return None
    return {
        "steps": [dict(step) for step in steps],
        "seconds": sum(step.get("seconds") or 0.0 for step in steps),
        "cpu_seconds": sum(step.get("cpu_seconds") or 0.0 for step in steps),
    }


def _result_row(
    key: str, name: str, split: str, figures: Mapping[str, Any], served: bool
) -> dict[str, Any]:
    interval = figures.get("interval") or {}
    return {
        "key": key,
        "name": name,
        "split": split,
        "served": served,
        "count": figures.get("count"),
        "accuracy": float(figures["accuracy"]),
        "accuracy_interval": interval.get("accuracy"),
        "macro_f1": figures.get("macro_f1"),
        "macro_f1_interval": interval.get("macro_f1"),
        "nll": figures.get("nll"),
        "ece": figures.get("ece"),
    }


def _by_split(figures: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"test": figures} if "accuracy" in figures else figures


def _distinct(found: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The splits that were scored, by their last name; `test` keeps its own."""
    names: dict[str, Mapping[str, Any]] = {}
    for split, figures in found.items():
        if isinstance(figures, Mapping) and figures.get("accuracy") is not None:
            twin = next((name for name, known in names.items() if known == figures), None)
            if twin != "test":
                names.pop(str(twin), None)
                names[split] = figures
    return names


def _ratio(above: Mapping[str, Any], below: Mapping[str, Any], key: str) -> float | None:
    if not above.get(key) or not below.get(key):
        return None
    return float(above[key] / below[key])
