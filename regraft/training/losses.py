"""What the labelled examples are trained for: their labels, or a teacher's answers.

A main loss works in two halves, because the loop puts one forward pass between them: `prepare`
before it (targets, mixed inputs) and `losses` after it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch

from regraft.training.examples import Split, TaskLabels
from regraft.transfer.objectives.classification import smooth_targets, soft_cross_entropy
from regraft.transfer.objectives.cutmix import cut_and_mix
from regraft.transfer.objectives.distillation import answers_loss
from regraft.transfer.objectives.mixup import mix

Tensors = dict[str, torch.Tensor]


class MainLoss(Protocol):
    """The loss of the labelled examples, one entry per task: "label", or "label:<task>"."""

    @property
    def labels(self) -> np.ndarray:
        """(n,) class numbers of the training examples."""

    @property
    def n_classes(self) -> int: ...

    @property
    def teacher_dim(self) -> int:
        """Length of a teacher's embeddings, where the loss knows them; else 0."""

    def prepare(
        self, inputs: list[torch.Tensor], indices: np.ndarray, views: np.ndarray
    ) -> tuple[list[torch.Tensor], Tensors]:
        """Inputs to train on and what is wanted of them: "labels" (n, classes), and more."""

    def losses(self, logits: torch.Tensor, wanted: Tensors) -> Tensors:
        """Scalars to minimise."""


@dataclass
class ClassificationLoss:
    """Cross-entropy with label smoothing, mixup, CutMix and class weights (each off at 0). With
    both mixtures every batch gets one of them, drawn with equal chances.

    `auxiliary` are further labels of the same examples; the logits of these tasks follow those of
    the label, in this order. Each is a loss "label:<task>" times `auxiliary_weight`: the mean over
    the labelled examples of the batch (0 where there is none), smoothed, mixed and weighed as the
    label is. With `label_weight` 0 the label teaches through the extra terms alone.
    """

    labels: np.ndarray
    n_classes: int
    class_weights: torch.Tensor | None = None
    label_smoothing: float = 0.0
    mixup_alpha: float = 0.0
    cutmix_alpha: float = 0.0
    teacher_dim: int = 0
    auxiliary: dict[str, TaskLabels] = field(default_factory=dict)
    auxiliary_weight: float = 1.0
    label_weight: float = 1.0

    def prepare(
        self, inputs: list[torch.Tensor], indices: np.ndarray, views: np.ndarray
    ) -> tuple[list[torch.Tensor], Tensors]:
        targets = one_hot(self.labels[indices], self.n_classes)
        targets = smooth_targets(targets, self.label_smoothing)
        further = [self._of_task(task, indices) for task in self.auxiliary.values()]
        together = torch.cat([targets, *further], 1).to(inputs[0].device)
        inputs, together = self._mixed(inputs, together, _generator())
        names = ["labels", *(f"label:{name}" for name in self.auxiliary)]
        parts = together.split([self.n_classes, *(one.shape[1] for one in further)], 1)
        return inputs, dict(zip(names, parts, strict=True))

    def _of_task(self, task: TaskLabels, indices: np.ndarray) -> torch.Tensor:
        """Targets (n, classes of the task); rows of 0 where there is no label."""
        known = torch.from_numpy(task.known[indices])[:, None]
        targets = one_hot(task.labels[indices].clip(min=0), task.n_classes)
        return smooth_targets(targets, self.label_smoothing) * known

    def _mixed(
        self, inputs: list[torch.Tensor], targets: torch.Tensor, rng: np.random.Generator
    ) -> tuple[list[torch.Tensor], torch.Tensor]:
        cut = self.cutmix_alpha > 0
        if cut and self.mixup_alpha > 0:
            cut = rng.random() < 0.5
        if cut:
            return cut_and_mix(inputs, targets, alpha=self.cutmix_alpha, rng=rng)
        return mix(inputs, targets, alpha=self.mixup_alpha, rng=rng)

    def losses(self, logits: torch.Tensor, wanted: Tensors) -> Tensors:
        targets = wanted["labels"]
        weights = self.class_weights.to(targets.device) if self.class_weights is not None else None
        if not self.auxiliary:
            return {"label": self.label_weight * soft_cross_entropy(logits, targets, weights)}
        sizes = [self.n_classes, *(task.n_classes for task in self.auxiliary.values())]
        own, *further = logits.split(sizes, 1)
        losses = {"label": self.label_weight * soft_cross_entropy(own, targets, weights)}
        for (name, task), answers in zip(self.auxiliary.items(), further, strict=True):
            loss = self._loss_of_task(task, answers, wanted[f"label:{name}"])
            losses[f"label:{name}"] = self.auxiliary_weight * loss
        return losses

    def _loss_of_task(
        self, task: TaskLabels, logits: torch.Tensor, targets: torch.Tensor
    ) -> torch.Tensor:
        weights = None
        if self.class_weights is not None:
            weights = torch.from_numpy(task.class_weights()).to(targets.device)
        labelled = targets.sum().clamp(min=1e-6)  # mixed examples count by their labelled share
        return soft_cross_entropy(logits, targets, weights) * len(targets) / labelled


@dataclass
class DistillationLoss:
    """Soft answers of a teacher, and the labels beside them.

    Attributes
    ----------
    labels : (n,); of unlabelled examples the teacher's own choice, which only the variant
        `decoupled` reads.
    labelled : (n,) 1 where the label is known; 0 leaves the teacher's answers alone to learn from.
    answers : (n, views, classes) the teacher's logits of the views that the student sees.
    embeddings : (n, views, teacher_dim) its embeddings, for a feature hint.
    variant : of `transfer.objectives.distillation`, with its options.
    """

    labels: np.ndarray
    labelled: torch.Tensor
    n_classes: int
    answers: torch.Tensor
    temperature: float
    label_weight: float
    embeddings: torch.Tensor | None = None
    variant: dict[str, Any] = field(default_factory=lambda: {"variant": "plain"})

    @property
    def teacher_dim(self) -> int:
        return 0 if self.embeddings is None else self.embeddings.shape[2]

    def prepare(
        self, inputs: list[torch.Tensor], indices: np.ndarray, views: np.ndarray
    ) -> tuple[list[torch.Tensor], Tensors]:
        targets = one_hot(self.labels[indices], self.n_classes)
        wanted = {"labels": targets, "labelled": self.labelled[indices]}
        wanted["answers"] = self.answers[indices, views]
        if self.embeddings is not None:
            wanted["embeddings"] = self.embeddings[indices, views]
        return inputs, {name: value.to(inputs[0].device) for name, value in wanted.items()}

    def losses(self, logits: torch.Tensor, wanted: Tensors) -> Tensors:
        labels = wanted["labels"]
        soft = answers_loss(
            logits,
            wanted["answers"],
            labels.argmax(1),
            temperature=self.temperature,
            **self.variant,
        )
        hard = soft_cross_entropy(logits, labels * wanted["labelled"][:, None])
        return {"label": (1 - self.label_weight) * soft + self.label_weight * hard}


def classification_loss(
    split: Split,
    *,
    label_smoothing: float,
    mixup_alpha: float,
    class_balance: bool,
    cutmix_alpha: float = 0.0,
    auxiliary: dict[str, TaskLabels] | None = None,
    auxiliary_weight: float = 1.0,
) -> ClassificationLoss:
    """Learn the labels of `split`, and those of further tasks of the same examples."""
    return ClassificationLoss(
        split.labels,
        split.n_classes,
        torch.from_numpy(split.class_weights()) if class_balance else None,
        label_smoothing,
        mixup_alpha,
        cutmix_alpha,
        auxiliary=auxiliary or {},
        auxiliary_weight=auxiliary_weight,
    )


def distillation_loss(
    split: Split,
    teacher_logits: np.ndarray,
    *,
    temperature: float,
    label_weight: float,
    teacher_embeddings: np.ndarray | None = None,
    variant: dict[str, Any] | None = None,
) -> DistillationLoss:
    """Learn the teacher's answers, and the labels of `split` beside them. Answers beyond the
    examples of `split` are of unlabelled ones."""
    embeddings = None if teacher_embeddings is None else torch.from_numpy(teacher_embeddings)
    choices = teacher_logits[len(split) :, 0].argmax(1)
    return DistillationLoss(
        np.concatenate([split.labels, choices]),
        torch.from_numpy(np.repeat([1.0, 0.0], [len(split), len(choices)]).astype(np.float32)),
        split.n_classes,
        torch.from_numpy(teacher_logits),
        temperature,
        label_weight,
        embeddings,
        variant or {"variant": "plain"},
    )


def one_hot(labels: np.ndarray, n_classes: int) -> torch.Tensor:
    """(n, classes) of class numbers (n,)."""
    return torch.from_numpy(np.eye(n_classes, dtype=np.float32)[labels])


def _generator() -> np.random.Generator:
    """Seeded from torch's generator, which the loop seeds per epoch."""
    return np.random.default_rng(int(torch.randint(2**31, (1,))))
