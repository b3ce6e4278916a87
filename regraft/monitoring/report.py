"""The drift report: one self-contained HTML page, pictures before tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from regraft.evaluation.charts import shift_overlay
from regraft.evaluation.examples import open_file, show_examples
from regraft.evaluation.report import template, write_atomically
from regraft.monitoring import charts
from regraft.monitoring.baseline import Baseline, Part
from regraft.monitoring.drift import effects_of
from regraft.monitoring.samples import Sample
from regraft.shift.two_sample import domain_classifier
from regraft.shift.verdict import overlay

_FEWEST = 4
_LEAST_ALIKE = 12


def write_drift_report(
    path: Path,
    drift: Mapping[str, Any],
    *,
    base: Baseline,
    windows: Sequence[Sample],
    past: Sequence[Mapping[str, Any]],
) -> None:
    """Write `drift` (drift.json) as a page. The pictures are of the last window that drifted, else
    shifted, else was judged; `past` are the windows of earlier checks, for the course over time.
    """
    entries = drift["windows"]
    number = _shown(entries)
    content = {
        **drift,
        "past": len(past),
        "shown": entries[number] if number is not None else None,
        "parts": [] if number is None else _parts(base, windows[number]),
        "course": _course(past, entries),
    }
    write_atomically(path, template("drift.html.j2").render(c=content))


def _shown(entries: Sequence[Mapping[str, Any]]) -> int | None:
    for key in ("drifted", "shifted", "judged"):
        found = [k for k, entry in enumerate(entries) if entry[key]]
        if found:
            return found[-1]
    return None


def _course(past: Sequence[Mapping[str, Any]], entries: Sequence[Mapping[str, Any]]) -> Any:
    from markupsafe import Markup

    before = [dict(w) for w in past if w["judged"]]
    now = [{**e, "effects": effects_of(e["tests"])} for e in entries if e["judged"]]
    return Markup(charts.effects_over_windows(before + now)) if before or now else None


def _parts(base: Baseline, window: Sample) -> list[dict[str, Any]]:
    placed = base.placed(window.take(window.finite))
    parts = base.parts(placed, enough_rows=_FEWEST)[0]
    return [_pictures(part, f"part{number}") for number, part in enumerate(parts)]


def _pictures(part: Part, name: str) -> dict[str, Any]:
    from markupsafe import Markup

    reference, window = part.everything, part.window
    told = f"{part.domain} reference".strip()
    scores = domain_classifier(reference.embeddings, window.embeddings).current_scores
    comparison = {
        "reference": told,
        "current": "window",
        "overlay": overlay(reference.embeddings, window.embeddings),
    }
    classes = sorted(
        set(reference.rows["label"].astype(str)) | set(window.rows["label"].astype(str))
    )
    shares = (_shares(reference, classes), _shares(window, classes))
    return {
        "domain": part.domain,
        "overlay": Markup(shift_overlay(comparison, f"{name}overlay")),
        "classes": Markup(charts.class_shares(classes, shares, f"{name}classes")),
        "examples": _least_alike(window, scores),
        "counts": [len(reference), len(window)],
    }


def _shares(sample: Sample, classes: Sequence[str]) -> list[float]:
    labels = sample.rows["label"].astype(str)
    return [float((labels == name).mean()) for name in classes]


def _least_alike(window: Sample, scores: Any) -> list[dict[str, Any]]:
    """The inputs that stand out most, as pictures or texts where they were kept."""
    if "input_path" not in window.rows:
        return []
    show = show_examples(open_file)
    order = [k for k in np.argsort(-scores, kind="stable") if np.isfinite(scores[k])]
    kept = [k for k in order if Path(str(window.rows["input_path"].iloc[k])).is_file()]
    return [
        {
            "id": str(window.rows["id"].iloc[k]),
            "label": str(window.rows["label"].iloc[k]),
            "confidence": float(window.rows["confidence"].iloc[k]),
            **show(str(window.rows["input_path"].iloc[k])),
        }
        for k in kept[:_LEAST_ALIKE]
    ]
