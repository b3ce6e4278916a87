"""Figures of a sequence, computed by hand."""

from __future__ import annotations

import numpy as np
import pytest

from regraft.errors import UserError
from regraft.evaluation.continual import backward_transfer, continual_metrics, forgetting

MATRIX = np.array(
    [
        [0.90, 0.20, 0.10],
        [0.95, 0.80, 0.30],
        [0.60, 0.70, 0.85],
    ]
)


def test_the_figures_are_those_computed_by_hand() -> None:
    found = continual_metrics(MATRIX, chance=[0.5, 0.25, 0.25])
    assert found["average_accuracy"] == pytest.approx((0.60 + 0.70 + 0.85) / 3)
    assert found["backward_transfer"] == pytest.approx((-0.30 - 0.10) / 2)
    assert found["forward_transfer"] == pytest.approx((-0.05 + 0.05) / 2)
    assert found["forgetting"] == pytest.approx((0.35 + 0.10) / 2)


def test_per_task_figures_are_in_task_order() -> None:
    assert backward_transfer(MATRIX) == pytest.approx([-0.30, -0.10])
    assert forgetting(MATRIX) == pytest.approx([0.35, 0.10])


def test_what_was_not_yet_learned_cannot_be_forgotten() -> None:
    lucky_before = np.array([[0.9, 0.99, 0.0], [0.9, 0.8, 0.0], [0.9, 0.8, 0.9]])
    assert continual_metrics(lucky_before)["forgetting"] == pytest.approx(0.0)


def test_a_model_that_improves_on_old_tasks_has_forgotten_less_than_nothing() -> None:
    found = continual_metrics([[0.5, 0.0], [0.7, 0.9]])
    assert found["backward_transfer"] == pytest.approx(0.2)
    assert found["forgetting"] == pytest.approx(-0.2)


def test_one_task_has_nothing_to_transfer() -> None:
    assert continual_metrics([[0.8]]) == {
        "average_accuracy": 0.8,
        "backward_transfer": None,
        "forward_transfer": None,
        "forgetting": None,
    }


@pytest.mark.parametrize(
    "matrix",
    [[], [[]], [0.5, 0.5], [[0.5, 0.5]], [[0.5, np.nan], [0.5, 0.5]], [[90.0]]],
)
def test_what_is_no_accuracy_matrix_is_refused(matrix: list[object]) -> None:
    with pytest.raises(UserError, match="accuracy matrix"):
        continual_metrics(matrix)  # type: ignore[arg-type]


def test_chance_is_one_number_per_task() -> None:
    with pytest.raises(UserError, match="chance"):
        continual_metrics(MATRIX, chance=[0.5])
