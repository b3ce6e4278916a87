"""Feature hint: the student's embeddings predict the teacher's.

Source: Romero et al., "FitNets: Hints for Thin Deep Nets", ICLR 2015, equation 3: with a learned
regressor r, L = 1/2 mean |r(f_student) - f_teacher|^2. Embeddings of ~8,000 numbers would make r a
matrix of 64 million, so its rank is bounded. Embeddings have unit length: guessing 0 costs 1/2.

>>> projection(6, 4, rank=8)
Linear(in_features=6, out_features=4, bias=True)
>>> len(projection(600, 400, rank=8))
2
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from regraft.transfer.objective import Objective
from regraft.transfer.objectives.domains import dims_of
from regraft.transfer.step import Start, Step


@dataclass(frozen=True, kw_only=True)
class TaughtStart(Start):
    """What distillation begins with. `teacher_dim` is the length of the teacher's embeddings."""

    teacher_dim: int


@dataclass(frozen=True, kw_only=True)
class TaughtStep(Step):
    """A step of distillation. `teacher_embeddings` (n, teacher_dim) are of the labelled batch."""

    teacher_embeddings: torch.Tensor


class Term(Objective):
    """Half the squared distance of the projected student's embedding to the teacher's."""

    projection: nn.Module

    def __init__(self, *, rank: int = 256) -> None:
        super().__init__()
        self.rank = rank

    def begin(self, start: Start) -> None:
        if not isinstance(start, TaughtStart):
            raise TypeError("a feature hint needs a teacher: begin with a TaughtStart")
        dim, _ = dims_of(start)
        self.projection = projection(dim, start.teacher_dim, rank=self.rank)

    def forward(self, step: Step) -> torch.Tensor:
        if not isinstance(step, TaughtStep):
            raise TypeError("a feature hint needs a teacher: give it a TaughtStep")
        guess = self.projection(step.labelled.embeddings)
        return (guess - step.teacher_embeddings).square().sum(1).mean() / 2


def projection(dim: int, teacher_dim: int, *, rank: int) -> nn.Module:
    """A linear map (n, dim) to (n, teacher_dim), of bounded rank."""
    if min(dim, teacher_dim) <= rank:
        return nn.Linear(dim, teacher_dim)
    return nn.Sequential(nn.Linear(dim, rank, bias=False), nn.Linear(rank, teacher_dim))
