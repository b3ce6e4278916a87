"""The same recipe in one process and in several: the same numbers in summary.json."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Finished
from tests.e2e.support import read, scores

pytestmark = pytest.mark.e2e
SEVERAL = ("features.shards=2", "finetune.processes=2", "distillation.enabled=false")


def same_numbers(summary: dict[str, Any], other: dict[str, Any]) -> None:
    """Every figure of the teacher on the test split, up to the rounding of sums."""
    one, two = (scores(each)["teacher"]["test"] for each in (summary, other))
    assert _flat(one) == pytest.approx(_flat(two), rel=1e-2, abs=1e-3)


def _flat(node: Any, path: str = "") -> dict[str, float]:
    if isinstance(node, dict):
        items = [(f"{path}/{key}", child) for key, child in node.items()]
    elif isinstance(node, list):
        items = [(f"{path}/{index}", child) for index, child in enumerate(node)]
    else:
        return {path: float(node)} if isinstance(node, (int, float)) else {}
    return {key: value for name, child in items for key, value in _flat(child, name).items()}


def test_two_processes_and_two_shards_give_the_numbers_of_one(finished: Finished) -> None:
    before = finished.summaries[0]
    after = finished.project.run("seed=0", *SEVERAL, out="several")
    steps = {step["name"]: step["cached"] for step in after["steps"]}
    assert list(steps)[:4] == [
        "data_validation", "feature_shard_0", "feature_shard_1", "feature_extraction",
    ]  # fmt: skip
    assert not steps["progressive_finetune"]
    history = read(Path(after["artifacts"]["teacher"], "history.json"))
    assert history["chosen"]["stage"] != "probe", "nothing that was trained is compared"
    same_numbers(after, before)
    assert len(_flat(scores(after)["teacher"]["test"])) > 5
