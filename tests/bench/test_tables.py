"""What the tables declare, and how a row is made of measurements."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from regraft.bench.cell import Cell
from regraft.bench.inputs import Backbone
from regraft.bench.rows import row_of
from regraft.bench.shots import shots
from regraft.bench.strategies import strategies
from regraft.bench.tables import TABLES
from regraft.bench.worker import Job, recipe_of
from regraft.transfer.plans import KINDS

BACKBONES = [Backbone("mobilenetv2_100", None), Backbone("mobilenetv1_075", None)]


@pytest.mark.parametrize("table", TABLES)
def test_every_cell_is_a_recipe_with_a_name_of_its_own(table: str, tmp_path: Path) -> None:
    cells = TABLES[table](tmp_path, BACKBONES)
    twice = [name for name, count in Counter(cell.name for cell in cells).items() if count > 1]
    assert twice == []
    for cell in cells:
        recipe_of(Job(cell.method, {}, cell.overrides, 3, tmp_path, tmp_path, tmp_path))


def test_shots_have_every_number_and_both_backbones(tmp_path: Path) -> None:
    names = [cell.name for cell in shots(tmp_path, BACKBONES)]
    for count in (1, 5, 10, 20, 100):
        assert f"lab {count} shots / recipe / mobilenetv2_100" in names
        assert f"lab {count} shots / cache_model / mobilenetv2_100" in names
    assert "lab 20 shots / recipe / mobilenetv1_075" in names
    assert "lab 100 shots / HuggingFace full fine-tuning / mobilenetv2_100" in names


def test_every_plan_has_a_cell(tmp_path: Path) -> None:
    names = [cell.name for cell in strategies(tmp_path, BACKBONES)]
    assert {f"plan, lab 20 shots / {kind}" for kind in KINDS} <= set(names)


def one(accuracy: float, **cpu: float) -> dict[str, Any]:
    found = {"accuracy": accuracy, "groups": 100, "macro_f1": accuracy}
    return {"figures": {"teacher": {"test": found}, "retention": accuracy}, "cpu": cpu}


def test_the_interval_is_that_of_t_over_the_seeds() -> None:
    measured = [one(0.8, finetune=10.0, evaluation=99.0), one(0.9, finetune=20.0)]
    row = row_of(Cell("a", {}), measured)
    assert row["mean"] == pytest.approx(0.85)
    half = 12.706 * 0.0707107 / 2**0.5
    assert row["low"] == pytest.approx(0.85 - half, abs=1e-4)
    assert row["high"] == 1.0, "no accuracy exceeds 1"
    assert row["cpu_seconds"] == 15
    assert row["macro_f1"] == 0.85


def test_one_seed_has_wilson_s_interval_and_a_ratio_none() -> None:
    row = row_of(Cell("a", {}), [one(0.8)])
    assert (row["low"], row["high"]) == pytest.approx((0.7112, 0.8666), abs=1e-3)
    row = row_of(Cell("a", {}, "retention"), [one(0.8)])
    assert (row["low"], row["high"]) == (None, None)


def test_without_a_measurement_the_row_says_why() -> None:
    row = row_of(Cell("a", {}), [], "ValueError: no photos")
    assert row["mean"] is row["low"] is row["cpu_seconds"] is None
    assert (row["seeds"], row["error"]) == (0, "ValueError: no photos")
