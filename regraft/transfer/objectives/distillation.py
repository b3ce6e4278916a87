"""Distillation of logits: the student learns the teacher's soft answers.

Source: Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network", 2015:
L = (1 - a) T^2 KL(p_teacher^T || p_student^T) + a CE(labels, p_student), T the temperature.

>>> import torch
>>> same = torch.tensor([[2.0, 0.0]])
>>> float(soft_answers(same, same, temperature=2.0))
0.0
"""

from __future__ import annotations

import torch


def soft_answers(
    student_logits: torch.Tensor, teacher_logits: torch.Tensor, *, temperature: float
) -> torch.Tensor:
    """T^2 KL(teacher || student) at a temperature, mean over a batch; both (n, classes)."""
    teacher = torch.log_softmax(teacher_logits / temperature, 1)
    student = torch.log_softmax(student_logits / temperature, 1)
    divergence = (teacher.exp() * (teacher - student)).sum(1).mean()
    return divergence * temperature**2
