"""Pictures of the drift report; each takes plain values and returns markup for HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from regraft.evaluation.charts import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLOURS = {
    "embeddings": style.BLUE,
    "inputs": style.AMBER,
    "predictions": style.GREEN,
    "performance": style.ORANGE,
}
_MARKERS = {"embeddings": "o", "inputs": "s", "predictions": "D", "performance": "^"}
_MOST_WINDOWS = 60
_HIGHEST = 4.0
_MOST_CLASSES = 16


def effects_over_windows(windows: Sequence[Mapping[str, Any]], name: str = "effects") -> str:
    """The largest effect of each monitor in each window, in multiples of the least that counts.

    A window is {effects: {title: [effect, min_effect, fires, monitor]}, judged, drifted}.
    """
    shown = list(windows)[-_MOST_WINDOWS:]
    lines = {monitor: _ratios(shown, monitor) for monitor in _COLOURS}

    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        for number, window in enumerate(shown):
            if window["drifted"]:
                axes.axvspan(number - 0.5, number + 0.5, color=style.ORANGE, alpha=0.14, lw=0)
        for monitor, (ratios, fires) in lines.items():
            _line(axes, monitor, ratios, fires)
        axes.axhline(1.0, color=style.INK, linewidth=1.0, linestyle=(0, (4, 3)))
        axes.set_ylim(0, _HIGHEST * 1.06)
        axes.set_xlim(-0.6, len(shown) - 0.4)
        axes.set_yticks(range(int(_HIGHEST) + 1))
        axes.set_ylabel("effect ÷ least that counts")
        axes.set_xlabel(f"window (the last of {len(windows)} on the right)")
        axes.set_xticks([])
        style.hairlines(axes, "y")
        figure.legend(loc="outside lower center", ncols=4)

    drifted = sum(bool(window["drifted"]) for window in shown)
    description = f"Effects of the monitors over {len(shown)} windows, drift in {drifted} of them"
    return style.draw(paint, 7.6, 3.2, name, description)


def _line(axes: Axes, monitor: str, ratios: list[float], fires: list[bool]) -> None:
    known = [k for k, ratio in enumerate(ratios) if np.isfinite(ratio)]
    if not known:
        return
    colour, marker = _COLOURS[monitor], _MARKERS[monitor]
    heights = np.minimum([ratios[k] for k in known], _HIGHEST)
    # Side by side, so that lines that are cut at the top do not hide each other.
    places = np.array(known) + 0.07 * (list(_COLOURS).index(monitor) - 1.5)
    axes.plot(places, heights, color=colour, marker=marker, markersize=4.5, label=monitor,
              markerfacecolor="white", linewidth=1.2)  # fmt: skip
    lit = [n for n, k in enumerate(known) if fires[k]]
    axes.plot(places[lit], heights[lit], marker, color=colour, markersize=5.5)


def _ratios(windows: Sequence[Mapping[str, Any]], monitor: str) -> tuple[list[float], list[bool]]:
    """Over the windows: the largest effect as a multiple, NaN where nothing was measured."""
    ratios, fires = [], []
    for window in windows:
        own = [v for v in window["effects"].values() if v[3] == monitor]
        ratios.append(max((_multiple(monitor, *v[:2]) for v in own), default=float("nan")))
        fires.append(any(v[2] for v in own))
    return ratios, fires


def _multiple(monitor: str, effect: float, least: float) -> float:
    if monitor == "embeddings":  # an AUC counts from one half
        effect, least = effect - 0.5, least - 0.5
    return max(effect, 0.0) / max(least, 1e-9)


def class_shares(
    classes: Sequence[str], shares: tuple[Sequence[float], Sequence[float]], name: str
) -> str:
    """How often each class is predicted, (reference, window); the most different on top."""
    reference, window = shares
    gaps = np.abs(np.asarray(reference) - np.asarray(window))
    order = np.argsort(-gaps, kind="stable")[:_MOST_CLASSES]
    labels = style.short_labels([classes[k] for k in order])

    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        places = np.arange(len(order))
        for values, offset, colour, label in (
            (reference, -0.2, style.BLUE, "reference"),
            (window, 0.2, style.ORANGE, "window"),
        ):
            widths = [values[k] for k in order]
            axes.barh(places + offset, widths, height=0.36, color=colour, label=label)
        axes.set_yticks(places, labels)
        axes.invert_yaxis()
        style.percent_axis(axes.xaxis)
        style.hairlines(axes, "x")
        figure.legend(loc="outside lower center", ncols=2)

    description = f"Shares of {len(order)} predicted classes in the reference and in the window"
    return style.draw(paint, 5.4, 1.0 + 0.42 * len(order), name, description)
