"""Decoupled distillation: the true class and the ranking of the others, weighed apart.

Source: Zhao et al., "Decoupled Knowledge Distillation", CVPR 2022, equations 7 and 8: with b the
probabilities (true class, all others) and p' those among the others,
L = T^2 (alpha KL(b_teacher || b_student) + beta KL(p'_teacher || p'_student)). Plain distillation
is alpha 1 and beta 1 - p_teacher(true class): what a sure teacher knows of the others is lost.

>>> same = torch.tensor([[2.0, 0.0, 1.0]])
>>> float(decoupled_answers(same, same, torch.tensor([0]), temperature=2.0))
0.0
"""

from __future__ import annotations

import torch


def decoupled_answers(
    student_logits: torch.Tensor,
    teacher_logits: torch.Tensor,
    labels: torch.Tensor,
    *,
    temperature: float,
    target_weight: float = 1.0,
    other_weight: float = 2.0,
) -> torch.Tensor:
    """The weighted divergences, mean over a batch; logits (n, classes), labels (n,)."""
    student = _split(student_logits / temperature, labels)
    teacher = _split(teacher_logits / temperature, labels)
    of_target, of_others = (_divergence(t, s) for t, s in zip(teacher, student, strict=True))
    return (target_weight * of_target + other_weight * of_others) * temperature**2


def _split(logits: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probabilities (n, 2) of the true class and all others, (n, classes - 1) among those."""
    classes = logits.shape[1]
    true = torch.nn.functional.one_hot(labels, classes).bool()
    others = logits[~true].view(len(logits), classes - 1)
    binary = torch.stack([logits[true], torch.logsumexp(others, 1)], 1)
    return torch.log_softmax(binary, 1), torch.log_softmax(others, 1)


def _divergence(log_p: torch.Tensor, log_q: torch.Tensor) -> torch.Tensor:
    return (log_p.exp() * (log_p - log_q)).sum(1).mean()
