"""Charts of how the model came about: learning curves, backbones, data and shift."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from regraft.evaluation.charts import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_POINTS = 500
MOST_CLASS_BARS = 40
_COMPARED = {
    "accuracy": ("accuracy", "{:.1%}"),
    "throughput_per_second": ("examples per second", "{:,.0f}"),
    "size_bytes": ("size, MB", "{:,.1f}"),
    "latency_ms": ("latency, ms", "{:,.1f}"),
}


def learning_curves(history: Mapping[str, Any], name: str) -> str:
    """Loss and validation accuracy over the epochs of all stages; stages are bands, the kept
    epoch is marked. `history` is the contract's history.json; missing values are left out.
    """
    points = [
        {**epoch, "stage": number}
        for number, stage in enumerate(history["stages"])
        for epoch in stage["epochs"]
    ]
    has_accuracy = any(_finite(point.get("val_accuracy")) for point in points)

    def paint(figure: Figure) -> None:
        grid = figure.subplots(1, 2 if has_accuracy else 1, squeeze=False)[0]
        _curve(grid[0], points, "train_loss", style.AMBER, "s", "training")
        _curve(grid[0], points, "val_loss", style.BLUE, "o", "validation")
        grid[0].set_title("loss")
        if has_accuracy:
            _curve(grid[1], points, "val_accuracy", style.BLUE, "o", "validation")
            grid[1].set_title("validation accuracy")
            style.percent_axis(grid[1].yaxis)
        for axes in grid:
            _stage_bands(axes, history, len(points))
            _kept_epoch(axes, history, show_text=axes is grid[0])
        if grid[0].get_legend_handles_labels()[0]:
            grid[0].legend(loc="best")

    stages = ", ".join(str(stage["name"]) for stage in history["stages"])
    description = f"Learning curves over {len(points)} epochs; stages: {stages}"
    return style.draw(paint, 8.4 if has_accuracy else 4.4, 2.8, name, description)


def search_rungs(rungs: Sequence[Mapping[str, Any]], name: str = "search") -> str:
    """Validation loss of every configuration over the rounds of a search, the head alone dashed.
    A line ends where its configuration went out; the last one that goes on is dark.
    """
    lines: dict[str, list[tuple[int, float]]] = {}
    for place, rung in enumerate(rungs):
        for row in rung["candidates"]:
            if _finite(row["val_loss"]):
                lines.setdefault(row["name"], []).append((place, row["val_loss"]))
    winner = next((row["name"] for row in rungs[-1]["candidates"] if row["kept"]), None)

    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        for label, points in lines.items():
            places, losses = zip(*points, strict=True)
            best = label == winner
            axes.plot(places, losses, "o-", color=style.BLUE if best else style.MUTED,
                      alpha=1 if best else 0.55, markersize=4,
                      label=style.printable(label) if best else None)  # fmt: skip
        axes.axhline(rungs[0]["probe_loss"], color=style.ORANGE, linestyle=(0, (4, 3)),
                     linewidth=1.2, label="the head alone")  # fmt: skip
        axes.set_xticks(range(len(rungs)), [str(rung["epochs"]) for rung in rungs])
        axes.set_xlabel("epochs of each configuration")
        axes.set_xlim(-0.3, len(rungs) - 0.7)
        axes.set_title("validation loss")
        style.hairlines(axes, "y")
        figure.legend(loc="outside lower center", ncols=2)

    description = f"Validation loss of {len(lines)} configurations over {len(rungs)} rounds"
    return style.draw(paint, 6.4, 3.0, name, description)


def backbone_ranking(rows: Sequence[Mapping[str, Any]], name: str = "ranking") -> str:
    """Bars of the cross-validated probe accuracy with intervals; the chosen backbone is dark. Those
    for which nothing could be held out have none."""
    known = [row for row in rows if row["probe_accuracy"] is not None]
    ordered = sorted(known, key=lambda row: -row["probe_accuracy"])

    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        for place, row in enumerate(ordered):
            value, chosen = row["probe_accuracy"], row.get("chosen")
            axes.barh(place, value, height=0.58, color=style.BLUE, alpha=1 if chosen else 0.35)
            if _finite(row.get("probe_low")) and _finite(row.get("probe_high")):
                ends = [row["probe_low"], row["probe_high"]]
                axes.plot(ends, [place, place], color=style.INK, linewidth=1.2)
            right = max(value, row.get("probe_high") or value)
            text = f"{value:.1%}" + (f" · LogME {row['logme']:.2f}" if "logme" in row else "")
            axes.annotate(text, (right, place), (7, 0), textcoords="offset points", va="center",
                          color=style.MUTED)  # fmt: skip
        labels = style.short_labels([row["backbone"] for row in ordered], 40)
        axes.set_yticks(range(len(ordered)), labels)
        for tick, row in zip(axes.get_yticklabels(), ordered, strict=True):
            tick.set_color(style.INK)
            tick.set_fontweight("bold" if row.get("chosen") else "normal")
        axes.set_ylim(len(ordered) - 0.45, -0.55)
        axes.set_xlim(0, 1.3)
        axes.set_xticks([])
        for side in ("left", "bottom"):
            axes.spines[side].set_visible(False)

    description = f"Probe accuracy of {len(known)} backbones, best {ordered[0]['backbone']}"
    return style.draw(paint, 6.4, 0.35 + 0.36 * len(ordered), name, description)


def shift_overlay(comparison: Mapping[str, Any], name: str) -> str:
    """Two samples of embeddings projected to the plane, one over the other."""
    overlay = comparison["overlay"]

    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        for key, colour, marker in (("reference", style.BLUE, "o"), ("current", style.ORANGE, "^")):
            points = np.asarray(overlay[key], dtype=np.float64).reshape(-1, 2)[:MOST_POINTS]
            axes.plot(points[:, 0], points[:, 1], marker, color=colour, alpha=0.55, markersize=4,
                      markeredgewidth=0, label=style.printable(comparison[key]))  # fmt: skip
        axes.set_xticks([])
        axes.set_yticks([])
        for spine in axes.spines.values():
            spine.set_visible(False)
        figure.legend(loc="outside lower center", ncols=2)

    description = f"Overlay of {comparison['reference']} and {comparison['current']} embeddings"
    return style.draw(paint, 4.2, 3.5, name, description)


def teacher_student(rows: Sequence[Mapping[str, Any]], name: str = "distillation") -> str:
    """Small bars, teacher above student, for what both rows have of accuracy, throughput, size and
    latency. Rows are those of `content.distillation`.
    """
    keys = [key for key in _COMPARED if all(_finite(row.get(key)) for row in rows)]

    def paint(figure: Figure) -> None:
        grid = figure.subplots(1, len(keys), squeeze=False)[0]
        for axes, key in zip(grid, keys, strict=True):
            title, pattern = _COMPARED[key]
            values = [row[key] / (1e6 if key == "size_bytes" else 1) for row in rows]
            axes.barh(range(len(rows)), values, height=0.55, color=[style.MUTED, style.BLUE])
            for place, value in enumerate(values):
                axes.annotate(pattern.format(value), (value, place), (5, 0), va="center",
                              textcoords="offset points")  # fmt: skip
            axes.set_title(title)
            axes.set_xlim(0, 1.45 * max(values))
            axes.set_ylim(len(rows) - 0.5, -0.5)
            axes.set_xticks([])
            axes.set_yticks(
                range(len(rows)),
                [row["name"] for row in rows] if key == keys[0] else [""] * len(rows),
            )
            axes.spines["bottom"].set_visible(False)

    return style.draw(paint, 0.4 + 2.0 * len(keys), 1.05, name, "Teacher and student compared")


def class_counts(classes: Mapping[str, Mapping[str, int]], name: str = "classes") -> str:
    """Stacked bars: examples per class and split (train, val, test, the rest)."""
    counts = sorted(classes.items(), key=lambda item: -sum(item[1].values()))[:MOST_CLASS_BARS]
    parts = {
        "train": (style.BLUE, 1.0),
        "val": (style.AMBER, 1.0),
        "test": (style.ORANGE, 1.0),
        "unlabelled": (style.MUTED, 0.55),
        "unused": (style.LINE, 1.0),
    }

    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        left = np.zeros(len(counts))
        for split, (colour, alpha) in parts.items():
            widths = np.array([row.get(split, 0) for _, row in counts], dtype=np.float64)
            if widths.any():
                axes.barh(range(len(counts)), widths, left=left, height=0.62, color=colour,
                          alpha=alpha, label=split)  # fmt: skip
                left += widths
        labels = style.short_labels([label for label, _ in counts], 34)
        axes.set_yticks(range(len(counts)), labels)
        axes.set_ylim(len(counts) - 0.45, -0.55)
        axes.spines["left"].set_visible(False)
        style.hairlines(axes, "x")
        figure.legend(loc="outside upper right", ncols=len(parts))

    description = f"Examples per class and split, {len(classes)} classes"
    return style.draw(paint, 7.4, 0.75 + 0.25 * len(counts), name, description)


def _finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


def _curve(
    axes: Axes, points: Sequence[Mapping[str, Any]], key: str, colour: str, marker: str, text: str
) -> None:
    there = [
        (place, point[key]) for place, point in enumerate(points, 1) if _finite(point.get(key))
    ]
    if there:
        places, values = zip(*there, strict=True)
        axes.plot(places, values, color=colour, marker=marker, markersize=3.5, label=text)


def _stage_bands(axes: Axes, history: Mapping[str, Any], epochs: int) -> None:
    from matplotlib.ticker import MaxNLocator

    start = 0.5
    for number, stage in enumerate(history["stages"], start=1):
        end = start + len(stage["epochs"])
        if number % 2 == 0:
            axes.axvspan(start, end, color=style.LINE, alpha=0.45, linewidth=0)
        fits = (end - start) / max(epochs, 1) * 40 >= len(str(stage["name"])) + 3
        text = f"{number} {style.printable(stage['name'])}" if fits else str(number)
        axes.annotate(text, (start, 1), (4, -3), xycoords=axes.get_xaxis_transform(), va="top",
                      textcoords="offset points", fontsize=8, color=style.MUTED)  # fmt: skip
        start = end
    low, high = axes.get_ylim()
    axes.set_ylim(low, high + 0.12 * (high - low))
    axes.set_xlim(0.5, max(start, 1.5))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
    axes.set_xlabel("epoch")
    style.hairlines(axes, "y")


def _kept_epoch(axes: Axes, history: Mapping[str, Any], *, show_text: bool) -> None:
    chosen = history.get("chosen") or {}
    place = 0
    for stage in history["stages"]:
        if stage["name"] == chosen.get("stage") and chosen.get("epoch"):
            place += int(chosen["epoch"])
            axes.axvline(place, color=style.GREEN, linewidth=1.4, linestyle=(0, (2, 2)),
                         label="kept" if show_text else None)  # fmt: skip
            return
        place += len(stage["epochs"])
