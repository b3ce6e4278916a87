"""Objectives: right where the answer is known, absent at strength 0."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy, kl_div, log_softmax, softmax

from regraft.transfer.objectives.classification import smooth_targets, soft_cross_entropy
from regraft.transfer.objectives.distillation import soft_answers
from regraft.transfer.objectives.mixup import mix


def one_hot(labels: list[int], classes: int = 3) -> torch.Tensor:
    return torch.eye(classes)[labels]


def test_mixup_of_strength_zero_returns_its_input_itself() -> None:
    inputs, targets = [torch.randn(4, 3), torch.randn(4, 2)], one_hot([0, 1, 2, 0])
    rng = np.random.default_rng(0)
    state = rng.bit_generator.state
    mixed, wanted = mix(inputs, targets, alpha=0, rng=rng)
    assert mixed is inputs
    assert wanted is targets
    assert rng.bit_generator.state == state


def test_mixup_mixes_every_tensor_and_the_targets_alike() -> None:
    targets = one_hot([0, 1, 2, 0, 1])
    mixed, wanted = mix([targets.clone(), 2 * targets], targets, alpha=0.4,
                        rng=np.random.default_rng(3))  # fmt: skip
    assert torch.allclose(mixed[0], wanted)
    assert torch.allclose(mixed[1], 2 * wanted)
    assert torch.allclose(wanted.sum(1), torch.ones(5))
    assert not torch.equal(wanted, targets)


def test_mixup_follows_its_generator() -> None:
    x, targets = [torch.randn(6, 2)], one_hot([0, 1, 2, 0, 1, 2])
    found = [mix(x, targets, alpha=1.0, rng=np.random.default_rng(s))[0][0] for s in (5, 5, 6)]
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_smoothing_zero_returns_the_targets_themselves() -> None:
    targets = one_hot([0, 2])
    assert smooth_targets(targets, 0) is targets


def test_smoothing_keeps_the_sum_and_shares_evenly() -> None:
    found = smooth_targets(one_hot([0], classes=4), 0.2)
    assert torch.allclose(found, torch.tensor([[0.85, 0.05, 0.05, 0.05]]))


def test_soft_cross_entropy_on_hard_targets_is_the_usual_one() -> None:
    logits, labels = torch.randn(8, 3), torch.tensor([0, 1, 2, 0, 1, 2, 0, 0])
    found = soft_cross_entropy(logits, one_hot(labels.tolist()))
    assert torch.allclose(found, cross_entropy(logits, labels))


def test_class_weights_weigh_by_the_true_class() -> None:
    logits, labels = torch.randn(4, 3), torch.tensor([0, 1, 2, 1])
    weights = torch.tensor([0.5, 2.0, 1.0])
    found = soft_cross_entropy(logits, one_hot(labels.tolist()), weights)
    expected = (cross_entropy(logits, labels, reduction="none") * weights[labels]).mean()
    assert torch.allclose(found, expected)


@pytest.mark.parametrize("temperature", [1.0, 2.0, 8.0])
def test_distillation_costs_nothing_for_equal_answers(temperature: float) -> None:
    logits = torch.randn(5, 4)
    assert soft_answers(logits, logits, temperature=temperature).item() == pytest.approx(
        0, abs=1e-6
    )
    shifted = soft_answers(logits + 3.0, logits, temperature=temperature)
    assert shifted.item() == pytest.approx(0, abs=1e-5), "a constant changes no probability"


def test_distillation_is_hintons_formula() -> None:
    student, teacher, t = torch.randn(5, 4), torch.randn(5, 4), 3.0
    expected = kl_div(log_softmax(student / t, 1), softmax(teacher / t, 1), reduction="batchmean")
    assert torch.allclose(soft_answers(student, teacher, temperature=t), expected * t**2)


def test_the_gradient_moves_the_student_towards_the_teacher() -> None:
    student = torch.zeros(1, 3, requires_grad=True)
    teacher = torch.tensor([[2.0, 0.0, -2.0]])
    loss = soft_answers(student, teacher, temperature=2.0)
    loss.backward()
    assert student.grad is not None
    assert student.grad[0, 0] < 0 < student.grad[0, 2]
    with torch.no_grad():
        nearer = student - 0.5 * student.grad
    assert soft_answers(nearer, teacher, temperature=2.0) < loss


def test_a_high_temperature_compares_logits() -> None:
    """The gradient tends to that of the squared difference over 2 classes (Hinton, section 2.1)."""
    student, teacher = torch.zeros(1, 3, requires_grad=True), torch.tensor([[1.0, 0.0, -1.0]])
    soft_answers(student, teacher, temperature=100.0).backward()
    assert student.grad is not None
    expected = (student.detach() - teacher) / 3
    assert torch.allclose(student.grad, expected, atol=1e-2)
