"""The head in closed form: it answers as the teacher, and its strength is chosen on held-out
groups."""

from __future__ import annotations

import numpy as np
import pytest

from regraft.backbones.heads.linear import span
from regraft.training.student_head import (
    DEFAULT_STRENGTH,
    MOST_VIEWS,
    _held_out_error,
    chosen_examples,
    student_head,
)

RNG = np.random.default_rng(0)


def unit(*shape: int) -> np.ndarray:
    x = RNG.normal(size=shape)
    found: np.ndarray = x / np.linalg.norm(x, axis=-1, keepdims=True)
    return found


def test_a_teacher_that_is_linear_in_the_student_s_embeddings_is_matched() -> None:
    x, weight = unit(200, 2, 12), 5 * RNG.normal(size=(12, 4))
    head = student_head(x, x @ weight, [str(i) for i in range(200)])
    fresh = unit(50, 12)
    expected = fresh @ weight
    expected -= expected.mean(1, keepdims=True)
    np.testing.assert_allclose(head.logits(fresh), expected, atol=0.1)
    assert head.strength == 1000.0


def test_noise_is_met_with_a_strong_penalty() -> None:
    x = unit(40, 2, 60)
    noise = RNG.normal(size=(40, 2, 3))
    assert student_head(x, noise, [str(i) for i in range(40)]).strength == 1.0


@pytest.mark.parametrize("strength", [1.0, 100.0])
def test_held_out_errors_are_those_of_fits_without_the_group(strength: float) -> None:
    x, y, group = unit(24, 40), RNG.normal(size=(24, 3)), np.arange(24) // 3
    coordinates, _, variances = span(x - x.mean(0))
    expected = 0.0
    for number in range(8):
        rest, own = group != number, group == number
        inner, basis, spread = span(x[rest] - x[rest].mean(0))
        weight = (((y[rest] - y[rest].mean(0)).T @ inner) / (spread + 1 / strength)) @ basis
        guess = (x[own] - x[rest].mean(0)) @ weight.T + y[rest].mean(0)
        expected += np.square(y[own] - guess).sum()
    found = _held_out_error(
        coordinates / np.sqrt(variances), variances / (variances + 1 / strength), y, group
    )
    assert found == pytest.approx(expected)


def test_a_single_group_has_nothing_to_hold_out() -> None:
    head = student_head(unit(3, 2, 8), RNG.normal(size=(3, 2, 2)), ["a"] * 3)
    assert head.strength == DEFAULT_STRENGTH


def test_many_examples_are_sampled_regularly() -> None:
    assert chosen_examples(5, 4).tolist() == [0, 1, 2, 3, 4]
    many = chosen_examples(100_000, 4)
    assert len(many) == MOST_VIEWS // 4 and many[0] == 0 and many[-1] == 99_999
