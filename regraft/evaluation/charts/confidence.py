"""Charts of how far the confidence can be trusted, and of the gate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from regraft.evaluation.charts import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def reliability(
    before: Sequence[Mapping[str, Any]] | None,
    after: Sequence[Mapping[str, Any]],
    name: str = "reliability",
) -> str:
    """Accuracy against confidence, before and after temperature scaling; the diagonal is ideal.

    Both are lists of bins from `calibration.reliability_bins`; `before` may be None.
    """
    panels = [("before scaling", before, style.ORANGE)] if before else []
    panels.append(("after scaling" if before else "as served", after, style.BLUE))

    def paint(figure: Figure) -> None:
        grid = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for axes, (title, bins, colour) in zip(grid, panels, strict=True):
            _diagram(axes, bins, colour)
            axes.set_title(title)
        grid[0].set_ylabel("accuracy")

    description = f"Reliability diagram with {len(after)} bins of confidence"
    return style.draw(paint, 2.7 * len(panels) + 0.4, 2.85, name, description)


def risk_coverage(points: Sequence[Mapping[str, float]], name: str = "coverage") -> str:
    """Accuracy of the answers that are kept if the least confident ones go to a person."""

    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        share = [point["coverage"] for point in points]
        accuracy = [point["accuracy"] for point in points]
        axes.plot(share, accuracy, color=style.BLUE)
        axes.plot(share[-1], accuracy[-1], "o", color=style.BLUE, markersize=5)
        lowest = min(accuracy)
        axes.set_ylim(lowest - 0.12 * (1 - lowest) - 0.003, 1 + 0.05 * (1 - lowest) + 0.001)
        axes.set_xlim(0, 1.02)
        style.hairlines(axes, "y")
        style.percent_axis(axes.xaxis)
        style.percent_axis(axes.yaxis)
        axes.set_xlabel("share answered by the model, most confident first")
        axes.set_title("accuracy of what is answered")

    description = f"Accuracy from {points[0]['accuracy']:.1%} to {points[-1]['accuracy']:.1%}"
    return style.draw(paint, 4.0, 3.1, name, f"{description} as more is answered")


def gate_interval(
    interval: Sequence[float], outcome: str, min_gain: float = 0.0, name: str = "gate"
) -> str:
    """The 95 % interval of candidate - champion against the gain that the gate asks for."""
    low, high = (100 * end for end in interval)

    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        colour = style.BLUE if outcome == "promote" else style.ORANGE
        reach = 1.35 * max(abs(low), abs(high), abs(100 * min_gain), 0.5)
        axes.axvspan(100 * min_gain, reach, color=style.BLUE, alpha=0.07, linewidth=0)
        axes.axvline(100 * min_gain, color=style.INK, linewidth=1.2)
        axes.plot([low, high], [0, 0], color=colour, linewidth=4, solid_capstyle="butt")
        axes.plot((low + high) / 2, 0, "o", color=colour, markersize=8)
        for end in (low, high):
            axes.annotate(f"{end:+.1f}", (end, 0), (0, 8), textcoords="offset points", ha="center")
        axes.set_xlim(-reach, reach)
        axes.set_ylim(-1, 1.6)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.set_xlabel("candidate minus champion, percentage points")
        axes.annotate(
            "promote if all of it lies here",
            (reach, 1.6),
            (-6, -5),
            ha="right",
            va="top",
            textcoords="offset points",
            color=style.MUTED,
        )

    description = f"Candidate minus champion: {low:+.1f} to {high:+.1f} points; {outcome}"
    return style.draw(paint, 6.0, 1.4, name, description)


def _diagram(axes: Axes, bins: Sequence[Mapping[str, Any]], colour: str) -> None:
    total = sum(row["count"] for row in bins)
    axes.plot([0, 1], [0, 1], color=style.MUTED, linewidth=0.9, linestyle=(0, (3, 2)))
    confidence = [row["confidence"] for row in bins]
    accuracy = [row["accuracy"] for row in bins]
    axes.vlines(confidence, confidence, accuracy, color=colour, alpha=0.35, linewidth=3)
    # The area says how many examples stand behind a dot; tiny bins should not shout.
    sizes = [12 + 160 * row["count"] / total for row in bins]
    axes.scatter(confidence, accuracy, s=sizes, color=colour, linewidth=0.8, edgecolor=style.PAPER)
    axes.set_xlim(0, 1.03)
    axes.set_ylim(0, 1.03)
    axes.set_aspect("equal")
    axes.set_xlabel("confidence")
    style.hairlines(axes, "y")
    style.percent_axis(axes.xaxis)
    style.percent_axis(axes.yaxis)
