"""Distillation of logits: the student learns the teacher's soft answers.

Source: Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network", 2015:
L = (1 - a) T^2 KL(p_teacher^T || p_student^T) + a CE(labels, p_student), T the temperature.
Variants of the first part: `decoupled` and `standardised`.

>>> import torch
>>> same = torch.tensor([[2.0, 0.0]])
>>> float(soft_answers(same, same, temperature=2.0))
0.0
"""

from __future__ import annotations

from typing import Any

import torch

from regraft.transfer.objectives.decoupled import decoupled_answers
from regraft.transfer.objectives.standardised import standardised

VARIANTS = ("plain", "decoupled", "standardised")


def soft_answers(
    student_logits: torch.Tensor, teacher_logits: torch.Tensor, *, temperature: float
) -> torch.Tensor:
    """T^2 KL(teacher || student) at a temperature, mean over a batch; both (n, classes)."""
    teacher = torch.log_softmax(teacher_logits / temperature, 1)
    student = torch.log_softmax(student_logits / temperature, 1)
    divergence = (teacher.exp() * (teacher - student)).sum(1).mean()
    return divergence * temperature**2


def answers_loss(
    student_logits: torch.Tensor,
    teacher_logits: torch.Tensor,
    labels: torch.Tensor,
    *,
    temperature: float,
    variant: str = "plain",
    **options: Any,
) -> torch.Tensor:
    """The loss of a variant; logits (n, classes). Only `decoupled` reads the labels (n,) and has
    options: `target_weight`, `other_weight`."""
    if variant == "plain":
        return soft_answers(student_logits, teacher_logits, temperature=temperature)
    if variant == "standardised":
        student, teacher = standardised(student_logits), standardised(teacher_logits)
        return soft_answers(student, teacher, temperature=temperature)
    if variant == "decoupled":
        return decoupled_answers(
            student_logits, teacher_logits, labels, temperature=temperature, **options
        )
    raise KeyError(f"no variant {variant!r} of distillation; there are {', '.join(VARIANTS)}")
