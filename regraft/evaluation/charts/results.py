"""Charts of what the models achieve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from regraft.evaluation.charts import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_CLASSES = 40


def comparison(rows: Sequence[Mapping[str, Any]], name: str = "results") -> str:
    """Dots with 95 % intervals: accuracy and macro-F1 of every model and baseline.

    `rows`: {name, split, served, accuracy, macro_f1, accuracy_interval, macro_f1_interval}; the
    intervals may be None.
    """
    several_splits = len({row.get("split") for row in rows}) > 1
    labels = [_row_name(row, several_splits) for row in rows]

    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        for offset, metric, colour, marker, text in (
            (-0.15, "accuracy", style.BLUE, "o", "accuracy"),
            (0.15, "macro_f1", style.ORANGE, "D", "macro-F1"),
        ):
            places = np.arange(len(rows)) + offset
            _dots(axes, places, rows, metric, colour=colour, marker=marker, text=text)
        _rows_axis(axes, style.short_labels(labels, 34))
        for tick, row in zip(axes.get_yticklabels(), rows, strict=True):
            tick.set_color(style.INK)
            tick.set_fontweight("bold" if row.get("served") else "normal")
        _share_limits(axes)
        figure.legend(loc="outside upper right", ncols=2)

    best = max(rows, key=lambda row: row["accuracy"])
    description = f"Accuracy and macro-F1 of {len(rows)} models; best: {best['name']}"
    return style.draw(paint, 6.4, 0.9 + 0.42 * len(rows), name, description)


def confusion_matrix(
    counts: ArrayLike, classes: Sequence[str], name: str = "confusion"
) -> tuple[str, int]:
    """True class (rows) against predicted class (columns), coloured by share of the row.

    Hits are blue, mistakes orange. Beyond 40 classes only those in the most mistakes are drawn.
    Returns the markup and how many classes were left out.
    """
    table = np.asarray(counts, dtype=np.int64)
    shown = _most_confused(table)
    share = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    table, share = table[np.ix_(shown, shown)], share[np.ix_(shown, shown)]
    labels = style.short_labels([classes[k] for k in shown], 26 if len(shown) <= 12 else 22)
    cell = 0.5 if len(shown) <= 12 else 0.34 if len(shown) <= 24 else 0.25

    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        _cells(axes, table, share, font_size=8 if cell > 0.4 else 7 if cell > 0.3 else 5.5)
        _matrix_axes(axes, labels, steep=len(shown) > 12)

    margin = 0.4 + 0.075 * max(map(len, labels))
    size = cell * len(shown) + 0.3
    below = margin if len(shown) > 12 else 0.7 * margin
    hits = int(np.trace(table))
    description = (
        f"Confusion matrix of {len(shown)} classes: {hits} of {table.sum()} on the diagonal"
    )
    markup = style.draw(paint, max(size + margin, 3.6), size + below, name, description)
    return markup, len(classes) - len(shown)


def accuracy_by_slice(rows: Sequence[Mapping[str, Any]], overall: float, name: str) -> str:
    """Accuracy with its interval for each slice against the overall accuracy (a line)."""

    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        axes.axvline(overall, color=style.MUTED, linewidth=0.9, linestyle=(0, (3, 2)))
        for place, row in enumerate(rows):
            colour = style.MUTED if row["small"] else style.BLUE
            axes.plot([row["low"], row["high"]], [place, place], color=colour, linewidth=1.6)
            face = style.PAPER if row["small"] else colour
            axes.plot(row["accuracy"], place, "o", color=colour, markerfacecolor=face, markersize=5)
        names = [f"{row['slice']}: {row['value']} · {row['count']}" for row in rows]
        labels = style.short_labels(names, 44)
        _rows_axis(axes, labels)
        lowest = min(row["low"] for row in rows)
        axes.set_xlim(max(0.0, np.floor(lowest * 10 - 0.5) / 10), 1.01)
        style.percent_axis(axes.xaxis)

    description = f"Accuracy of {len(rows)} slices against {overall:.1%} overall"
    return style.draw(paint, 6.8, 0.5 + 0.25 * len(rows), name, description)


def _row_name(row: Mapping[str, Any], several_splits: bool) -> str:
    return f"{row['name']} · {row['split']}" if several_splits else str(row["name"])


def _dots(
    axes: Axes,
    places: np.ndarray,
    rows: Sequence[Mapping[str, Any]],
    metric: str,
    *,
    colour: str,
    marker: str,
    text: str,
) -> None:
    values = [row[metric] for row in rows]
    for place, row in zip(places, rows, strict=True):
        interval = row.get(f"{metric}_interval")
        if interval:
            axes.plot(interval, [place, place], color=colour, linewidth=1.6, solid_capstyle="butt")
    axes.plot(values, places, marker, color=colour, markersize=5.5, linestyle="none", label=text)


def _rows_axis(axes: Axes, labels: Sequence[str]) -> None:
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.spines["left"].set_visible(False)
    style.hairlines(axes, "x")


def _share_limits(axes: Axes) -> None:
    axes.set_xlim(0, 1.02)
    axes.set_xticks(np.linspace(0, 1, 6))
    style.percent_axis(axes.xaxis)


def _most_confused(table: np.ndarray) -> np.ndarray:
    if len(table) <= MOST_CLASSES:
        return np.arange(len(table))
    mistakes = table.sum(axis=0) + table.sum(axis=1) - 2 * np.diag(table)
    return np.sort(np.argsort(-mistakes, kind="stable")[:MOST_CLASSES])


def _cells(axes: Axes, table: np.ndarray, share: np.ndarray, font_size: float) -> None:
    from matplotlib.collections import PolyCollection
    from matplotlib.colors import to_rgba

    rows, columns = np.nonzero(table)
    hits = rows == columns
    # Opacity, not a colour map: the page's own background shows through in either theme.
    alphas = np.where(hits, 0.12, 0.18) + np.where(hits, 0.88, 0.82) * share[rows, columns]
    corners = np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]])
    squares = np.stack([columns, rows], axis=1)[:, None, :] + corners
    colours = [
        to_rgba(style.BLUE if hit else style.ORANGE, alpha)
        for hit, alpha in zip(hits, alphas, strict=True)
    ]
    axes.add_collection(PolyCollection(list(squares), facecolors=colours, linewidths=0))
    for row, column, alpha in zip(rows.tolist(), columns.tolist(), alphas, strict=True):
        ink = style.PAPER if alpha > 0.6 else style.INK
        text = axes.text(column, row, str(table[row, column]), color=ink, fontsize=font_size,
                         ha="center", va="center_baseline")  # fmt: skip
        text.set_in_layout(False)


def _matrix_axes(axes: Axes, labels: Sequence[str], *, steep: bool) -> None:
    places = range(len(labels))
    font_size = 8 if len(labels) <= 24 else 6.5
    angle = 90 if steep else 40
    placing: dict[str, Any] = {"ha": "center"}
    if not steep:
        placing = {"ha": "right", "rotation_mode": "anchor"}
    axes.set_xticks(places, labels, rotation=angle, fontsize=font_size, **placing)
    axes.set_yticks(places, labels, fontsize=font_size)
    axes.set_xlim(-0.5, len(labels) - 0.5)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.set_aspect("equal")
    edges = np.arange(len(labels) + 1) - 0.5
    axes.hlines(edges, edges[0], edges[-1], color=style.LINE, linewidth=0.6)
    axes.vlines(edges, edges[0], edges[-1], color=style.LINE, linewidth=0.6)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    for spine in axes.spines.values():
        spine.set_visible(False)
