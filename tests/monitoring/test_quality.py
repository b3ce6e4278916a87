"""Every expectation on a window fails in one test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from regraft.monitoring.monitors import quality
from regraft.monitoring.samples import Sample
from regraft.monitoring.verdict import not_judged
from tests.monitoring.support import CLASSES, DIM, window


def defects(live: Sample, docs: Path) -> list[str]:
    tests = quality.tests(live, classes=CLASSES, width=DIM, max_share=0.05, docs=docs)
    return not_judged("", tests).defects


def test_an_intact_window_has_no_defect_and_pages(tmp_path: Path) -> None:
    assert defects(window(labels=10), tmp_path) == []
    assert (tmp_path / "index.html").is_file()


@pytest.mark.parametrize(
    ("column", "value", "meaning"),
    [
        ("id", "same", "every answer is logged once"),
        ("label", "weed", "answers are known classes"),
        ("confidence", None, "every answer has a confidence"),
        ("confidence", 1.5, "confidence lies in 0..1"),
        ("p:a", 7.0, "probabilities add up to 1"),
        ("truth", "weed", "labels that came later are known classes"),
        ("input_hash", "same", "every input was sent once"),
        ("stat_brightness", None, "brightness could be measured"),
        ("stat_contrast", 0.0, "inputs are not blank"),
    ],
)
def test_what_is_broken_is_named(tmp_path: Path, column: str, value: Any, meaning: str) -> None:
    live = window()
    rows = live.rows.copy()
    rows.loc[:9, column] = np.nan if value is None else value
    (found,) = defects(Sample(rows, live.embeddings), tmp_path)
    assert found == f"{meaning}: 10 of 100 rows fail"


def test_a_few_broken_rows_are_no_defect(tmp_path: Path) -> None:
    live = window()
    rows = live.rows.copy()
    rows.loc[:4, "label"] = "weed"
    assert defects(Sample(rows, live.embeddings), tmp_path) == []


def test_embeddings_of_another_width_and_an_empty_window(tmp_path: Path) -> None:
    live = window()
    narrow = Sample(live.rows, live.embeddings[:, :3])
    assert defects(narrow, tmp_path) == [
        "embeddings are finite and as wide as known: 100 of 100 rows fail"
    ]
    empty = live.take(np.zeros(100, bool))
    assert defects(empty, tmp_path) == ["there are answers: 1 of 0 rows fail"]
