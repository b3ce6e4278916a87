"""One look for every chart: inline SVG with real text in the page's light or dark theme."""

from __future__ import annotations

import base64
import html
import io
import re
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's palette: told apart with any colour vision and in grey print.
INK, MUTED, LINE, PAPER = "#1c2430", "#5b6776", "#d9dee5", "#fffffe"
BLUE, ORANGE, GREEN, AMBER = "#0072b2", "#d55e00", "#009e73", "#e69f00"
_VARIABLES = {
    INK: "--ink",
    MUTED: "--muted",
    LINE: "--line",
    PAPER: "--paper",
    BLUE: "--blue",
    ORANGE: "--orange",
    GREEN: "--green",
    AMBER: "--amber",
}
_STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 8,
    "axes.labelsize": 9,
    "axes.edgecolor": LINE,
    "axes.linewidth": 0.8,
    "axes.labelcolor": MUTED,
    "axes.titlecolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "text.color": INK,
    "xtick.bottom": False,
    "ytick.left": False,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "legend.handlelength": 1.4,
    "lines.linewidth": 1.6,
}
_LARGEST_SVG = 250_000


def draw(
    paint: Callable[[Figure], None], width: float, height: float, name: str, description: str
) -> str:
    """Let `paint` fill a figure of width x height inches and return it as markup for HTML.

    Normally an inline SVG; one above 250 kB becomes a PNG if that is smaller. `name` must be
    unique in the page (it keeps the ids of two charts apart); `description` is the text
    alternative.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    style: Any = {**_STYLE, "svg.hashsalt": name}
    with rc_context(style), warnings.catch_warnings():
        # Text stays text, so the reader's browser finds the glyphs that this machine lacks.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure = Figure(figsize=(width, height), layout="constrained")
        paint(figure)
        markup = _inline_svg(_save(figure, "svg").decode("utf-8"), name, width, description)
        if len(markup) <= _LARGEST_SVG:
            return markup
        figure.set_facecolor("white")
        picture = _inline_png(_save(figure, "png"), width, description)
    return min(markup, picture, key=len)


def hairlines(axes: Axes, along: Literal["x", "y"]) -> None:
    """Draw the grid lines that cross axis `along` behind the data, in place of the other spine."""
    axes.grid(axis=along)
    axes.spines["bottom" if along == "x" else "left"].set_visible(False)


def percent_axis(axis: Any) -> None:
    """Label an axis of shares in per cent."""
    from matplotlib.ticker import PercentFormatter

    axis.set_major_formatter(PercentFormatter(xmax=1, decimals=None))


def short_labels(names: Sequence[str], limit: int = 26) -> list[str]:
    """Shorten names in the middle so that none is longer than `limit` and all stay distinct.

    >>> short_labels(["a_very_long_class_name_a", "a_very_long_class_name_b"], limit=12)
    ['a_very…ame_a', 'a_very…ame_b']
    """
    labels: list[str] = []
    for name in map(printable, names):
        label = name
        if len(name) > limit:
            tail = (limit - 1) // 2
            label = f"{name[: limit - 1 - tail]}…{name[-tail:]}"
        if label in labels:
            label = f"{label[: limit - 4]} #{len(labels) + 1}"
        labels.append(label)
    return labels


def printable(text: object) -> str:
    """One line without control characters: what a chart and an XML document can hold."""
    return "".join(c if c.isprintable() else " " for c in str(text)).strip() or "(empty)"


def _save(figure: Figure, kind: str) -> bytes:
    buffer = io.BytesIO()
    metadata = {"Date": None, "Creator": None} if kind == "svg" else None
    figure.savefig(buffer, format=kind, dpi=144, metadata=metadata)
    return buffer.getvalue()


def _inline_svg(svg: str, name: str, width: float, description: str) -> str:
    view_box = re.search(r'viewBox="([^"]+)"', svg)
    body = svg[svg.index(">", svg.index("<svg")) + 1 :]
    body = re.sub(r"<(metadata|style)\b.*?</\1>", "", body, flags=re.DOTALL)
    used = set(re.findall(r'(?:xlink:href="#|url\(#)([^")]+)', body))
    # Only tags are rewritten: what stands between them may be the name of a class.
    body = re.sub(r"<[^>]+>", lambda tag: _clean_tag(tag.group(), name, used), body)
    body = re.sub(r">[ ]*\n[ \n]*", ">", body)
    box = view_box.group(1) if view_box else ""
    return (
        f'<svg class="chart" role="img" aria-label="{html.escape(description)}" viewBox="{box}"'
        f' style="--width:{width * 96:.0f}px">{body}'
    )


def _clean_tag(tag: str, name: str, used: set[str]) -> str:
    """Make one SVG tag fit for a page: unique ids, theme colours, the page's font, 2 decimals."""

    def keep_used_id(match: re.Match[str]) -> str:
        return f' id="{name}-{match.group(1)}"' if match.group(1) in used else ""

    tag = re.sub(r"\s+", " ", tag)
    tag = re.sub(r' id="([^"]*)"', keep_used_id, tag)
    tag = re.sub(r'(?:xlink:)?href="#', f'href="#{name}-', tag).replace("url(#", f"url(#{name}-")
    tag = re.sub(r"(\d\.\d{2})\d+", r"\1", tag)
    tag = re.sub(r"(fill|stroke): (#[0-9a-f]{6})", _themed, tag)
    return re.sub(r" font-family: [^;\"]*;?| transform=\"rotate\(-?0 [^\"]*\"", "", tag)


def _themed(match: re.Match[str]) -> str:
    what, colour = match.groups()
    name = _VARIABLES.get(colour)
    return f"{what}: var({name}, {colour})" if name else match.group(0)


def _inline_png(png: bytes, width: float, description: str) -> str:
    data = base64.b64encode(png).decode("ascii")
    return (
        f'<img class="chart" alt="{html.escape(description)}" style="--width:{width * 96:.0f}px"'
        f' src="data:image/png;base64,{data}">'
    )
