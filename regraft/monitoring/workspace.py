"""Evidently's own view of the windows over time: one snapshot per window in a local workspace.

`evidently ui --workspace FOLDER` shows it. It is a picture: the verdicts are made by our own tests.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from regraft.monitoring.baseline import Baseline, Part
from regraft.monitoring.samples import STATISTIC, Sample
from regraft.recipe.monitoring import MonitoringOptions

_MOST = 20
_FEWEST = 5


def add_windows(
    folder: Path, name: str, base: Baseline, windows: list[Sample], options: MonitoringOptions
) -> int:
    """Add a snapshot of each window (of the latest 20) to the workspace; returns how many.

    With several domains there is a snapshot of each, tagged with it. Windows that are too small to
    be compared have none.
    """
    os.environ.setdefault("DO_NOT_TRACK", "1")
    from evidently.ui.workspace import Workspace

    workspace = Workspace.create(str(folder))
    known = workspace.search_project(name)
    project = known[0] if known else workspace.create_project(name)
    added = 0
    for window in windows[-_MOST:]:
        if window.width != base.sample.width:
            continue
        placed = base.placed(window.take(window.finite))
        for part in base.parts(placed, enough_rows=options.enough_rows_in_domain)[0]:
            if snapshot := _snapshot(part, base, options):
                workspace.add_run(project.id, snapshot, name=f"{window.name} {part.domain}".strip())
                added += 1
    return added


def _snapshot(part: Part, base: Baseline, options: MonitoringOptions) -> Any:
    from evidently import DataDefinition, Dataset, Report
    from evidently.metrics import ValueDrift

    before, after = _table(part.everything), _table(part.window)
    numeric = [
        column
        for column in part.everything.statistics
        if min(before[column].count(), after[column].count()) >= _FEWEST
    ]
    definition = DataDefinition(
        numerical_columns=[*numeric, "confidence"], categorical_columns=["predicted class"]
    )
    distance, share = options.min_input_distance, options.min_label_shift
    metrics = [
        *(ValueDrift(column=c, method="wasserstein", threshold=distance) for c in numeric),
        ValueDrift(column="predicted class", method="TVD", threshold=share),
        ValueDrift(column="confidence", method="wasserstein", threshold=distance),
    ]
    columns = [*numeric, "confidence", "predicted class"]
    datasets = [
        Dataset.from_pandas(table[columns], data_definition=definition) for table in (after, before)
    ]
    tags = [f"version {base.version}", *([part.domain] if part.domain else [])]
    # Not the time of the answers: their clock may have gone backwards.
    return Report(metrics, include_tests=True).run(
        *datasets, timestamp=datetime.now(UTC), tags=tags
    )


def _table(sample: Sample) -> pd.DataFrame:
    columns = [c for c in sample.rows.columns if str(c).startswith(STATISTIC)]
    return sample.rows[[*columns, "confidence"]].assign(
        **{"predicted class": sample.rows["label"].astype(str)}
    )
