"""From the measurements of a cell to its row: mean, interval, cost."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.stats import t

from regraft.bench.cell import Cell
from regraft.shift.cross_validation import wilson_interval

_FURTHER = ("macro_f1", "nll", "ece")
_PLAIN = ("speedup", "loss_before", "loss_after")
"""Figures that are no shares."""


def row_of(cell: Cell, measured: list[dict[str, Any]], error: str = "") -> dict[str, Any]:
    """{"cell", "mean", "low", "high", "cpu_seconds", "seeds", "metric", "values", "macro_f1",
    "nll", "ece"} of the measurements of a cell, one per seed; "error" where one failed.

    The interval is that of Student's t over the seeds. With one seed, or where all agree, that says
    nothing: then it is Wilson's, over the independent test examples; None for a figure that is no
    share of these.
    """
    parts = [_at(one["figures"], cell.metric.split(".")[:-1]) for one in measured]
    name = cell.metric.rsplit(".", 1)[-1]
    values = [float(part[name]) for part in parts]
    low, high = _interval(values, [part.get("groups", 0) for part in parts])
    row = {
        "cell": cell.name,
        "mean": float(np.mean(values)) if values else None,
        "low": low,
        "high": high,
        "cpu_seconds": _mean([_seconds(cell, one["cpu"]) for one in measured], 2),
        "seeds": len(values),
        "metric": name,
        "values": values,
    }
    row |= {key: _mean([p[key] for p in parts], 4) for key in _FURTHER if parts and key in parts[0]}
    return row | ({"error": error} if error else {})


def markdown(rows: list[dict[str, Any]]) -> str:
    """A table of the rows. Shares are in percent.

    >>> print(markdown([{"cell": "a", "mean": 0.5, "low": 0.4, "high": 0.6, "cpu_seconds": 12.3,
    ...                  "seeds": 5, "metric": "accuracy", "macro_f1": 0.5}]))
    | cell | figure | mean [95 %] | macro-F1 | NLL | ECE | CPU s | seeds |
    |---|---|---|---|---|---|---|---|
    | a | accuracy | 50.0 % [40.0, 60.0] | 0.500 |  |  | 12 | 5 |
    """
    heads = ["cell", "figure", "mean [95 %]", "macro-F1", "NLL", "ECE", "CPU s", "seeds"]
    lines = [heads, ["---"] * len(heads)]
    lines += [_line(row) for row in rows]
    joined = [f"| {' | '.join(parts)} |" for parts in lines]
    return "\n".join(joined).replace("| --- ", "|---").replace("--- |", "---|")


def _line(row: dict[str, Any]) -> list[str]:
    figures = [f"{row[key]:.3f}" if key in row else "" for key in _FURTHER]
    cost = "" if row["cpu_seconds"] is None else f"{row['cpu_seconds']:.0f}"
    return [
        row["cell"],
        row["metric"].replace("_", " "),
        _estimate(row),
        *figures,
        cost,
        str(row["seeds"]),
    ]


def _estimate(row: dict[str, Any]) -> str:
    if row["mean"] is None:
        return f"failed: {row['error'].splitlines()[0]}"
    scale, unit, digits = (1, "", 2) if row["metric"] in _PLAIN else (100, " %", 1)
    text = f"{scale * row['mean']:.{digits}f}{unit}"
    if row["low"] is None:
        return text
    return f"{text} [{scale * row['low']:.{digits}f}, {scale * row['high']:.{digits}f}]"


def _interval(values: list[float], groups: list[int]) -> tuple[float | None, float | None]:
    n, shares = len(values), all(groups) and bool(groups)
    if n > 1 and np.std(values) > 0:
        half = float(t.ppf(0.975, n - 1) * np.std(values, ddof=1) / n**0.5)
        low, high = float(np.mean(values)) - half, float(np.mean(values)) + half
        return (max(low, 0.0), min(high, 1.0)) if shares else (low, high)
    if not shares:
        return None, None
    return wilson_interval(values[0], min(groups))


def _seconds(cell: Cell, cpu: dict[str, float]) -> float:
    return sum(seconds for step, seconds in cpu.items() if step in cell.counted)


def _mean(values: list[float], digits: int) -> float | None:
    return round(float(np.mean(values)), digits) if values else None


def _at(figures: dict[str, Any], path: list[str]) -> dict[str, Any]:
    for name in path:
        figures = figures[name]
    return figures
