"""How figures are written in reports and model cards."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from markupsafe import Markup


def share(value: float | None, digits: int = 1) -> str:
    """Write a share in per cent, or a dash: 0.984 -> '98.4%', None -> '–'."""
    return "–" if _missing(value) else f"{100 * float(value or 0):.{digits}f}%"


def span(interval: Sequence[float] | None, digits: int = 1) -> str:
    """Write an interval of shares in per cent: [0.97, 0.99] -> '97.0 – 99.0'; None -> ''."""
    return " – ".join(f"{100 * end:.{digits}f}" for end in interval) if interval else ""


def number(value: float | None, digits: int = 3) -> str:
    """Write up to `digits` significant digits, thousands separated: 12345.6 -> '12,346'."""
    if value is None or _missing(value):
        return "–"
    if isinstance(value, int) or abs(value) >= 10**digits:
        return f"{value:,.0f}"
    return f"{value:.{digits}g}" if abs(value) >= 1e-4 or not value else f"{value:.1e}"


def duration(seconds: float | None) -> str:
    """Write seconds for people: 75.2 -> '1 min 15 s'."""
    if seconds is None:
        return "–"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def file_size(count: float | None) -> str:
    """Write bytes for people: 12345678 -> '12.3 MB'."""
    if count is None:
        return "–"
    return f"{count / 1e6:.1f} MB" if count >= 1e5 else f"{count / 1e3:.1f} kB"


def block_list(blocks: Sequence[Any] | None) -> str:
    """Join runs of numbered blocks: ['blocks.4', 'blocks.5', 'head'] -> '4–5, head'."""
    runs: list[list[Any]] = []
    for block in blocks or []:
        tail = str(block).rsplit(".", 1)[-1]
        value = int(tail) if tail.isdigit() else str(block)
        if runs and isinstance(value, int) and runs[-1][-1] == value - 1:
            runs[-1].append(value)
        else:
            runs.append([value])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}–{run[-1]}" for run in runs) or "–"


def best_accuracy(stage: Mapping[str, Any]) -> float | None:
    """Best validation accuracy of a stage of history.json, None without validation."""
    known = [epoch.get("val_accuracy") for epoch in stage["epochs"]]
    return max((value for value in known if not _missing(value)), default=None)


def stage_seconds(stage: Mapping[str, Any]) -> float:
    """Seconds of all epochs of a stage of history.json."""
    return float(sum(epoch.get("seconds") or 0.0 for epoch in stage["epochs"]))


def soft(text: object) -> Markup:
    """Escape for HTML and let long names break after _ / - and dots."""
    from markupsafe import Markup, escape

    return Markup(re.sub(r"([_/\-.]+)", r"\1<wbr>", str(escape(text))))


def markdown(text: object) -> str:
    """Escape what Markdown or the HTML in it would act on, on one line.

    >>> markdown("a|b <i>")
    'a\\\\|b &lt;i&gt;'
    """
    line = html.escape(" ".join(str(text).split()), quote=False)
    return re.sub(r"([\\`*\[\]|]|(?<!\w)_|_(?!\w)|__+)", r"\\\1", line)


def _missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


FILTERS = {
    "share": share,
    "span": span,
    "number": number,
    "duration": duration,
    "filesize": file_size,
    "blocks": block_list,
    "best_accuracy": best_accuracy,
    "stage_seconds": stage_seconds,
    "soft": soft,
    "md": markdown,
}
