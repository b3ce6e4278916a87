"""Is what came in, and what was answered, well-formed? Defects are to be mended, not learned from.

The Great Expectations suite of data validation, on the rows of a window.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from regraft.data.quality import Check, run_checks
from regraft.monitoring.monitors import Test
from regraft.monitoring.samples import PROBABILITY, STATISTIC, Sample

_TABLE = "window"
_BLANK_CONTRAST = 0.01
_ROUNDING = 0.01


def tests(
    window: Sample, *, classes: list[str], width: int, max_share: float, docs: Path
) -> list[Test]:
    """One test without a p-value per expectation; its effect is the share of rows that fail it.

    `width` is that of the reference's embeddings. Writes Great Expectations' pages to `docs`.
    """
    rows = _with_facts(window, width)
    entries = run_checks(list(_checks(rows, classes)), {_TABLE: rows}, docs)
    return [_test(entry, len(rows), max_share) for entry in entries]


def _test(entry: dict[str, object], rows: int, max_share: float) -> Test:
    count = int(str(entry["unexpected"]))
    count = max(rows, 1) if count < 0 else count
    return Test(
        monitor="quality",
        name=str(entry["meaning"]),
        statistic=float(count),
        p_value=None,
        effect=count / max(rows, 1),
        min_effect=max_share,
        effect_name="share of rows that fail",
        note=f"{count} of {rows} rows fail",
    )


def _with_facts(window: Sample, width: int) -> pd.DataFrame:
    """What Great Expectations can read: scalars, and what is to be said of wide columns."""
    rows = window.rows.reset_index(drop=True)
    probabilities = [c for c in rows.columns if str(c).startswith(PROBABILITY)]
    wide = {*probabilities, "embedding", "probabilities", "statistics"}
    facts = rows[[c for c in rows.columns if c not in wide]].copy()
    if probabilities:
        values = rows[probabilities].to_numpy(np.float64)
        proper = (values >= -_ROUNDING).all(1) & (np.abs(values.sum(1) - 1) < _ROUNDING)
        facts["probabilities"] = np.where(proper, "proper", "broken")
    fits = window.finite if window.width == width else np.zeros(len(rows), bool)
    return facts.assign(embedding=np.where(fits, "proper", "broken"))


def _checks(rows: pd.DataFrame, classes: list[str]) -> Iterator[Check]:
    unique, in_set = "ExpectColumnValuesToBeUnique", "ExpectColumnValuesToBeInSet"
    between, not_null = "ExpectColumnValuesToBeBetween", "ExpectColumnValuesToNotBeNull"
    whole, share = "ExpectTableRowCountToBeBetween", {"min_value": 0, "max_value": 1}
    proper, known = {"value_set": ["proper"]}, {"value_set": classes}
    yield Check(_TABLE, whole, "", "there are answers", {"min_value": 1})
    yield Check(_TABLE, unique, "id", "every answer is logged once", {})
    yield Check(_TABLE, in_set, "label", "answers are known classes", known)
    yield Check(_TABLE, not_null, "confidence", "every answer has a confidence", {})
    yield Check(_TABLE, between, "confidence", "confidence lies in 0..1", share)
    yield Check(_TABLE, in_set, "embedding", "embeddings are finite and as wide as known", proper)
    if "probabilities" in rows:
        yield Check(_TABLE, in_set, "probabilities", "probabilities add up to 1", proper)
    if "truth" in rows and rows["truth"].notna().any():
        yield Check(_TABLE, in_set, "truth", "labels that came later are known classes", known)
    if "input_hash" in rows:
        yield Check(_TABLE, unique, "input_hash", "every input was sent once", {})
    for column in (str(c) for c in rows.columns if str(c).startswith(STATISTIC)):
        name = column.removeprefix(STATISTIC)
        yield Check(_TABLE, not_null, column, f"{name} could be measured", {})
    if f"{STATISTIC}contrast" in rows:
        contrast = {"min_value": _BLANK_CONTRAST}
        yield Check(_TABLE, between, f"{STATISTIC}contrast", "inputs are not blank", contrast)
