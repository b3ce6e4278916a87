"""Clipping by norm and by value."""

from __future__ import annotations

import pytest
import torch
from torch.nn import Parameter

from regraft.transfer.gradients.clipping import clip


def with_gradient(*values: float) -> Parameter:
    parameter = Parameter(torch.zeros(len(values)))
    parameter.grad = torch.tensor(values)
    return parameter


def test_the_norm_is_taken_over_all_parameters() -> None:
    first, second, without = with_gradient(3.0), with_gradient(0.0, 4.0), Parameter(torch.zeros(1))
    assert clip([first, without, second], norm=1.0).item() == pytest.approx(5)
    assert first.grad is not None
    assert second.grad is not None
    assert first.grad.tolist() == pytest.approx([0.6], rel=1e-5)
    assert second.grad.tolist() == pytest.approx([0.0, 0.8], rel=1e-5)
    assert without.grad is None


def test_a_small_gradient_and_bounds_of_0_change_nothing() -> None:
    for options in ({"norm": 10.0, "value": 10.0}, {"norm": 0.0, "value": 0.0}):
        one = with_gradient(3.0, 4.0)
        assert clip([one], **options).item() == pytest.approx(5)
        assert one.grad is not None
        assert one.grad.tolist() == [3.0, 4.0]


def test_by_value_first_then_by_norm() -> None:
    one = with_gradient(30.0, -4.0)
    assert clip([one], value=3.0, norm=1.0).item() == pytest.approx(18**0.5)
    assert one.grad is not None
    assert one.grad.tolist() == pytest.approx([0.5**0.5, -(0.5**0.5)], rel=1e-4)


def test_nothing_to_clip() -> None:
    assert clip([Parameter(torch.zeros(2))], norm=1.0).item() == 0
