"""Accuracy by slice: where a good average hides a bad corner."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from regraft.evaluation.bootstrap import accuracy_interval

FEWEST_EXAMPLES = 5
IMAGE_TERCILES = {"pixels": "size", "brightness": "brightness"}
CATEGORIES = {"domain": "domain"}

Parts = Iterator[tuple[str, str, pd.DataFrame]]


def slice_table(
    predictions: pd.DataFrame,
    *,
    categories: Mapping[str, str] = CATEGORIES,
    terciles: Mapping[str, str] = IMAGE_TERCILES,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Score a prediction frame by slice: [{slice, value, count, accuracy, low, high, small}].

    `predictions` has the columns label, predicted and optionally group, quality_flags (comma
    separated) and those named by `categories` and `terciles` (column -> name in the table).
    `pixels` is made from width and height. Classes come last. A slicing with a single value says
    nothing and is left out; so is a column that the task does not have. `small` marks fewer than 5
    examples; low and high are a 95 % interval (bootstrap over groups).
    """
    frame = predictions.assign(correct=predictions["label"] == predictions["predicted"])
    return [
        {"slice": name, "value": value, **_score(rows, seed)}
        for name, value, rows in parts_of(frame, categories=categories, terciles=terciles)
    ]


def parts_of(
    frame: pd.DataFrame,
    *,
    categories: Mapping[str, str] = CATEGORIES,
    terciles: Mapping[str, str] = IMAGE_TERCILES,
) -> Parts:
    """The slices of a frame: (name of the slicing, value, its rows); see `slice_table`."""
    if {"width", "height"} <= set(frame.columns):
        frame = frame.assign(pixels=frame["width"] * frame["height"])
    for column, name in categories.items():
        yield from _by_category(frame, column, name)
    for column, name in terciles.items():
        yield from _by_tercile(frame, column, name)
    yield from _by_flag(frame)
    yield from _by_category(frame, "label", "class")


def _score(rows: pd.DataFrame, seed: int) -> dict[str, Any]:
    groups = rows["group"].to_numpy() if "group" in rows else None
    low, high = accuracy_interval(rows["correct"].to_numpy(), groups, seed=seed)
    return {
        "count": len(rows),
        "accuracy": float(rows["correct"].mean()),
        "low": low,
        "high": high,
        "small": len(rows) < FEWEST_EXAMPLES,
    }


def _by_category(frame: pd.DataFrame, column: str, name: str) -> Parts:
    if column in frame and frame[column].nunique() > 1:
        for value, rows in frame.groupby(column, sort=True):
            yield name, str(value) or "(none)", rows


def _by_tercile(frame: pd.DataFrame, column: str, name: str) -> Parts:
    if column not in frame or frame[column].nunique() < 3:
        return
    edges = frame[column].quantile([0, 1 / 3, 2 / 3, 1]).tolist()
    if len(set(edges)) < 4:
        return
    # Ranges are printed because "dark" means nothing without the numbers behind it.
    parts = pd.cut(
        frame[column], edges, labels=["lowest", "middle", "highest"], include_lowest=True
    )
    for part, rows in frame.groupby(parts, observed=True):
        yield name, f"{part} third ({_span(column, rows[column])})", rows


def _span(column: str, values: pd.Series) -> str:
    low, high = float(values.min()), float(values.max())
    if column == "pixels":
        return f"{low / 1e6:.2f}–{high / 1e6:.2f} MP"
    return f"{low:.2g}–{high:.2g}"


def _by_flag(frame: pd.DataFrame) -> Parts:
    if "quality_flags" not in frame:
        return
    flags = [set(filter(None, str(row).split(","))) for row in frame["quality_flags"].fillna("")]
    known = sorted(set().union(*flags))
    for flag in known:
        yield "quality flag", flag, frame[[flag in row for row in flags]]
    if known and not all(flags):
        yield "quality flag", "none", frame[[not row for row in flags]]
