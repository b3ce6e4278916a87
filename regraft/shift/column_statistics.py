"""Which columns of a table of example statistics (of images, of texts) have shifted."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from regraft.errors import UserError

METHOD = "wasserstein"
MIN_DISTANCE = 0.25


def compare_columns(
    reference: pd.DataFrame,
    current: pd.DataFrame,
    *,
    columns: Sequence[str] | None = None,
    html: Path | None = None,
    min_distance: float = MIN_DISTANCE,
    alpha: float = 0.05,
    permutations: int = 1000,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Compare each numeric column that both tables share (or `columns`) through evidently.

    Returns for each {column, method, score, threshold, drifted}. The score is the Wasserstein
    distance in standard deviations of the reference. A fixed threshold alone alarms on small
    samples (20 against 20 rows of one distribution lie about 0.35 apart), a p-value alone on
    large ones; so the threshold handed to evidently is `min_distance`, or what relabelling the
    same rows reaches with probability `alpha` / number of columns where that is more.
    Writes evidently's report, self-contained, to `html`. Raises UserError for tables of fewer
    than two rows, without a shared numeric column, or with values that are not finite.
    """
    names = list(columns) if columns is not None else _shared_numeric(reference, current)
    before, after = (_checked(table, names) for table in (reference, current))
    level = 1 - alpha / len(names)
    rng = np.random.default_rng(seed)
    members = np.arange(len(before) + len(after)) < len(before)
    orders = rng.permuted(np.tile(members, (permutations, 1)), axis=1)
    null = _relabelled_distances(before.to_numpy(), after.to_numpy(), orders)
    reached = np.maximum(np.quantile(null, level, axis=0), min_distance)
    return _evidently(before, after, dict(zip(names, reached.tolist(), strict=True)), html)


def wasserstein_tests(
    before: NDArray[Any], after: NDArray[Any], *, permutations: int = 1000, seed: int = 0
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Scores and p-values (columns,) of `before` (n, columns) against `after` (m, columns), finite.

    The scores are those that `compare_columns` gets from evidently; a p-value is the share of
    relabellings that reach the score, itself included.
    """
    members = np.arange(len(before) + len(after)) < len(before)
    rng = np.random.default_rng(seed)
    orders = rng.permuted(np.tile(members, (permutations, 1)), axis=1)
    null = _relabelled_distances(before, after, orders)
    own = np.argsort(np.concatenate([before, after]), axis=0, kind="stable")
    scores = np.array(
        [
            _relabelled_distances(before[:, [k]], after[:, [k]], members[own[:, k]][None])[0, 0]
            for k in range(before.shape[1])
        ]
    )
    # Relabellings that repeat the observed value must count, whatever the rounding.
    reached = (null >= scores * (1 - 1e-9)).sum(0)
    return scores, (1 + reached) / (1 + permutations)


def _relabelled_distances(
    before: NDArray[Any], after: NDArray[Any], orders: NDArray[np.bool_]
) -> NDArray[Any]:
    """Normed Wasserstein distances (permutations, columns).

    Each row of `orders` (permutations, n + m) says which of the pooled, sorted rows of `before`
    (n, columns) and `after` (m, columns) are taken for the reference.
    """
    steps = np.diff(np.sort(np.concatenate([before, after]), axis=0), axis=0)
    share_a = np.cumsum(orders, axis=1) / len(before)
    share_b = np.cumsum(~orders, axis=1) / len(after)
    distances = np.abs(share_a - share_b)[:, :-1] @ steps
    # The floor is evidently's own; without it a constant column would divide by zero.
    return np.asarray(distances / np.maximum(before.std(0), 0.001))


def _evidently(
    before: pd.DataFrame,
    after: pd.DataFrame,
    thresholds: dict[str, float],
    html: Path | None,
) -> list[dict[str, Any]]:
    os.environ.setdefault("DO_NOT_TRACK", "1")
    from evidently import DataDefinition, Dataset, Report
    from evidently.metrics import ValueDrift

    definition = DataDefinition(numerical_columns=list(thresholds))
    datasets = [Dataset.from_pandas(t, data_definition=definition) for t in (after, before)]
    metrics = [ValueDrift(column=c, method=METHOD, threshold=t) for c, t in thresholds.items()]
    snapshot = Report(metrics, include_tests=True).run(*datasets)
    if html is not None:
        snapshot.save_html(str(html))
    found = snapshot.dict()
    failed = {
        test["metric_config"]["params"]["column"]: test["status"] == "FAIL"
        for test in found["tests"]
    }
    scores = {m["config"]["column"]: float(m["value"]) for m in found["metrics"]}
    return [
        {
            "column": column,
            "method": METHOD,
            "score": scores[column],
            "threshold": threshold,
            "drifted": bool(failed[column]),
        }
        for column, threshold in thresholds.items()
    ]


def _shared_numeric(reference: pd.DataFrame, current: pd.DataFrame) -> list[str]:
    numeric = [set(t.select_dtypes("number").columns) for t in (reference, current)]
    return [str(c) for c in reference.columns if c in numeric[0] & numeric[1]]


def _checked(table: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    missing = [name for name in names if name not in table.columns]
    if missing or not names:
        raise UserError(
            "no statistics to compare",
            got=", ".join(map(str, table.columns)) or "no columns",
            expected=", ".join(missing) or "a numeric column that both tables have",
        )
    if len(table) < 2:
        raise UserError(
            "too few examples to compare their statistics",
            got=str(len(table)),
            expected="at least 2",
        )
    values = table[names].astype(float).reset_index(drop=True)
    broken = [name for name in names if not np.isfinite(values[name]).all()]
    if broken:
        raise UserError(
            "statistics hold NaN or infinite values",
            where=f"columns {', '.join(broken)}",
            fix="leave these columns or rows out",
        )
    return values
