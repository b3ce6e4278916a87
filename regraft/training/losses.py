"""What one step minimises, made from the objectives that a recipe asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from regraft.training.examples import Split
from regraft.transfer.objectives.classification import smooth_targets, soft_cross_entropy
from regraft.transfer.objectives.distillation import soft_answers
from regraft.transfer.objectives.mixup import mix

if TYPE_CHECKING:
    from regraft.training.progressive import StepLoss


def classification_loss(
    split: Split, *, label_smoothing: float, mixup_alpha: float, class_balance: bool
) -> StepLoss:
    """Cross-entropy with label smoothing, mixup and class weights (each off at 0)."""
    weights = torch.from_numpy(split.class_weights()) if class_balance else None
    targets = _one_hot(split)

    def step_loss(
        module: nn.Module, batch: list[torch.Tensor], indices: np.ndarray, views: np.ndarray
    ) -> torch.Tensor:
        wanted = smooth_targets(targets[indices], label_smoothing).to(batch[0].device)
        inputs, wanted = mix(batch, wanted, alpha=mixup_alpha, rng=_generator())
        own = weights.to(wanted.device) if weights is not None else None
        return soft_cross_entropy(module(inputs), wanted, own)

    return step_loss


def distillation_loss(
    split: Split, teacher_logits: np.ndarray, *, temperature: float, label_weight: float
) -> StepLoss:
    """Hinton's loss; `teacher_logits` (n, views, classes) are of the views the student sees."""
    answers = torch.from_numpy(teacher_logits)
    targets = _one_hot(split)

    def step_loss(
        module: nn.Module, batch: list[torch.Tensor], indices: np.ndarray, views: np.ndarray
    ) -> torch.Tensor:
        logits = module(batch)
        teacher = answers[indices, views].to(logits.device)
        soft = soft_answers(logits, teacher, temperature=temperature)
        hard = soft_cross_entropy(logits, targets[indices].to(logits.device))
        return (1 - label_weight) * soft + label_weight * hard

    return step_loss


def _one_hot(split: Split) -> torch.Tensor:
    return torch.from_numpy(np.eye(split.n_classes, dtype=np.float32)[split.labels])


def _generator() -> np.random.Generator:
    """Seeded from torch's generator, which the loop seeds per epoch."""
    return np.random.default_rng(int(torch.randint(2**31, (1,))))
