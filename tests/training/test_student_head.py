"""The head in closed form: it answers as the teacher, and its strength is chosen on held-out
groups."""

from __future__ import annotations

import numpy as np
import pytest

from regraft.backbones.heads.linear import span
from regraft.training.student_head import (
    DEFAULT_STRENGTH,
    MOST_VIEWS,
    _held_out,
    chosen_examples,
    student_head,
)

RNG = np.random.default_rng(0)


def unit(*shape: int) -> np.ndarray:
    x = RNG.normal(size=shape)
    found: np.ndarray = x / np.linalg.norm(x, axis=-1, keepdims=True)
    return found


def softmax(logits: np.ndarray) -> np.ndarray:
    found: np.ndarray = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    return found


def test_a_teacher_that_is_linear_in_the_student_s_embeddings_is_followed() -> None:
    x, weight = unit(300, 2, 12), 5 * RNG.normal(size=(12, 4))
    head = student_head(x, softmax(x @ weight), [str(i) for i in range(300)])
    fresh = unit(200, 12)
    said, meant = softmax(head.logits(fresh)), softmax(fresh @ weight)
    assert (said.argmax(1) == meant.argmax(1)).mean() > 0.9
    assert np.abs(said - meant).mean() < 0.1, "calibrated: no bolder, no meeker than the teacher"
    assert head.strength > 1.0


def test_noise_is_met_with_a_strong_penalty() -> None:
    x = unit(40, 2, 60)
    noise = softmax(RNG.normal(size=(40, 2, 3)))
    head = student_head(x, noise, [str(i) for i in range(40)])
    assert head.strength == 1.0
    assert np.abs(softmax(head.logits(x[:, 0])) - 1 / 3).max() < 0.2


@pytest.mark.parametrize("strength", [1.0, 100.0])
def test_held_out_scores_are_those_of_fits_without_the_group(strength: float) -> None:
    x, y, group = unit(24, 40), RNG.normal(size=(24, 3)), np.arange(24) // 3
    coordinates, _, variances = span(x - x.mean(0))
    expected = np.empty_like(y)
    for number in range(8):
        rest, own = group != number, group == number
        inner, basis, spread = span(x[rest] - x[rest].mean(0))
        weight = (((y[rest] - y[rest].mean(0)).T @ inner) / (spread + 1 / strength)) @ basis
        expected[own] = (x[own] - x[rest].mean(0)) @ weight.T + y[rest].mean(0)
    found = _held_out(
        coordinates / np.sqrt(variances), variances / (variances + 1 / strength), y, group
    )
    np.testing.assert_allclose(found, expected)


def test_a_single_group_has_nothing_to_hold_out() -> None:
    head = student_head(unit(3, 2, 8), softmax(RNG.normal(size=(3, 2, 2))), ["a"] * 3)
    assert head.strength == DEFAULT_STRENGTH


def test_many_examples_are_sampled_regularly() -> None:
    assert chosen_examples(5, 4).tolist() == [0, 1, 2, 3, 4]
    many = chosen_examples(100_000, 4)
    assert len(many) == MOST_VIEWS // 4 and many[0] == 0 and many[-1] == 99_999
