"""One self-contained HTML page about a candidate: pictures, then tables, then text."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regraft.evaluation import charts
from regraft.evaluation.formats import FILTERS

if TYPE_CHECKING:
    from jinja2 import Template

TEMPLATES = Path(__file__).parent / "templates"
SECTIONS = {
    "gate": "The gate",
    "results": "Results and baselines",
    "confusion": "What is mixed up",
    "reliability": "Can the confidence be trusted?",
    "slices": "Where it is weak",
    "mistakes": "Worst mistakes",
    "answering": "Answers and silence",
    "signing": "Signs made of the words",
    "modalities": "Image, text, and both",
    "choices": "Choices",
    "learning": "Learning curves",
    "distillation": "Teacher and student",
    "shift": "Shift",
    "quality": "Data quality",
    "ranking": "Backbones compared",
    "cost": "What it cost",
    "method": "How this was measured",
}
_COVERAGES = (1.0, 0.95, 0.9, 0.8, 0.5)


def write_report(path: str | Path, content: Mapping[str, Any]) -> None:
    """Write `content` as one HTML file that needs no network, no script and no other file.

    `content` is what `content.assemble` returns. A section that is None, empty or absent is left
    out; `content["missing"]` {section: reason} is listed at the end. Keys:

    - recipe, served, noun (plural of an example), verdict (a sentence)
    - decision: None or {outcome, reason, interval: [low, high] | None, champion_version,
      candidate_version, min_gain, max_source_drop_pp}
    - tiles [{name, share | text, interval | note}], attention [{what, do, section}]
    - results {rows: [{key, name, split, served, count, accuracy, accuracy_interval, macro_f1,
      macro_f1_interval, nll, ece}]}
    - confusion {classes, counts (true x predicted), accuracy, per_class, pairs}
    - reliability {count, before, after (bins), ece_before, ece_after, temperature, coverage}
    - slices {rows, overall}
    - mistakes {examples, total, count}; an example is {id, true, predicted, confidence,
      true_probability} with one of thumbnail (data URI), text, html (trusted markup)
    - answering {retrieval, abstention, dialogues} (`evaluation.assistant`)
    - signing {signing, speakers} (`evaluation.signing`), pictures [{word, made, real (data URI)}]
    - modalities {gains [{name, difference, low, high}], worth {modality: accuracy lost without it},
      abstention {answered, right}, evidence [{thumbnail, text, predicted, true}]}
    - choices {adaptation, strategy, stages, forgetting} (`choices.choices`)
    - learning [{name, history (history.json)}]
    - distillation {rows, retention, speedup, shrinkage, search}; search is None or {retention,
      speedup, layers} of the search of a student's own assistant
    - shift (shift.json, each comparison with examples), quality (quality.json),
      ranking (ranking.json), cost {steps, seconds, cpu_seconds}, method {name: value}
    """
    page = template("report.html.j2").render(
        content={"decision": None, "attention": [], "missing": {}, **content},
        charts=_pictures(content),
        sections=[(key, title) for key, title in SECTIONS.items() if _is_present(content, key)],
        coverage_points=_coverage_points(content),
    )
    write_atomically(Path(path), page)


def write_atomically(path: Path, text: str) -> None:
    """Write a text file so that a reader sees the old or the new one, never half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def _is_present(content: Mapping[str, Any], section: str) -> bool:
    return bool(content.get("decision" if section == "gate" else section))


def _coverage_points(content: Mapping[str, Any]) -> list[Mapping[str, float]]:
    """The points of the coverage curve next to round shares, without repetition."""
    points = (content.get("reliability") or {}).get("coverage", [])
    nearest = [
        min(points, key=lambda p: abs(p["coverage"] - goal)) for goal in _COVERAGES if points
    ]
    return [point for k, point in enumerate(nearest) if point not in nearest[:k]]


def _pictures(content: Mapping[str, Any]) -> dict[str, Any]:
    from markupsafe import Markup

    made: dict[str, Any] = {"left_out_classes": 0, "learning": [], "overlays": [], "gate": None}
    if content["results"]["rows"]:
        made["results"] = Markup(charts.comparison(content["results"]["rows"]))
    if confusion := content.get("confusion"):
        markup, left_out = charts.confusion_matrix(confusion["counts"], confusion["classes"])
        made |= {"confusion": Markup(markup), "left_out_classes": left_out}
    if bins := content.get("reliability"):
        made["reliability"] = Markup(charts.reliability(bins["before"], bins["after"]))
        made["coverage"] = Markup(charts.risk_coverage(bins["coverage"]))
    if distillation := content.get("distillation"):
        made["distillation"] = Markup(charts.teacher_student(distillation["rows"]))
    if slices := content.get("slices"):
        made["slices"] = _slice_chart(slices)
    rungs = ((content.get("choices") or {}).get("strategy") or {}).get("rungs")
    made["search"] = Markup(charts.search_rungs(rungs)) if rungs else None
    for number, entry in enumerate(content.get("learning") or []):
        markup = charts.learning_curves(entry["history"], f"learning{number}")
        made["learning"].append(Markup(markup))
    for number, row in enumerate((content.get("shift") or {}).get("comparisons", [])):
        made["overlays"].append(Markup(charts.shift_overlay(row, f"shift{number}")))
    ranking = content.get("ranking") or []
    if any(row["probe_accuracy"] is not None for row in ranking):
        made["ranking"] = Markup(charts.backbone_ranking(ranking))
    if classes := (content.get("quality") or {}).get("classes"):
        made["classes"] = Markup(charts.class_counts(classes))
    decision = content.get("decision")
    if decision and decision.get("interval"):
        gain = decision.get("min_gain") or 0.0
        markup = charts.gate_interval(decision["interval"], decision["outcome"], gain)
        made["gate"] = Markup(markup)
    return made


def _slice_chart(slices: Mapping[str, Any]) -> Any:
    from markupsafe import Markup

    rows = worst_slices(slices["rows"])
    return Markup(charts.accuracy_by_slice(rows, slices["overall"], "slices"))


def worst_slices(rows: Sequence[Mapping[str, Any]], most: int = 30) -> list[Mapping[str, Any]]:
    """Keep the order of the table but only the `most` slices with the lowest accuracy."""
    worst = sorted(rows, key=lambda row: row["accuracy"])[:most]
    kept = {id(row) for row in worst}
    return [row for row in rows if id(row) in kept]


def template(name: str, *, autoescape: bool = True) -> Template:
    """Load a template of this room; undefined names are errors."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=autoescape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= FILTERS
    return environment.get_template(name)
