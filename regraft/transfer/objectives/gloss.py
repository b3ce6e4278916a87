"""Gloss recognition: the head that names recordings also names the motions of their words.

A second task on one head (hard parameter sharing; Caruana, "Multitask Learning", Machine Learning
28, 1997): motions are projected to where recordings are, and both are told apart by the same rows.
The gloss of a sign is its word.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from regraft.errors import UserError
from regraft.transfer.objective import Objective
from regraft.transfer.step import Start, Step


class Term(Objective):
    """The cross-entropy of the motions' glosses, after a linear projection that learns."""

    needs_partners = True
    vectors: torch.Tensor
    classes: torch.Tensor

    def begin(self, start: Start) -> None:
        """Raises UserError where the examples are not paired with motions."""
        if start.partners is None:
            raise UserError(
                "there are no motions to name",
                where="finetune.objectives (gloss)",
                expected="recordings that are paired with motions",
                fix="leave the term out",
            )
        vectors = torch.from_numpy(start.partners.vectors).float()
        self.register_buffer("vectors", F.normalize(vectors, dim=1))
        self.register_buffer("classes", torch.from_numpy(start.partners.classes).long())
        self.projection = nn.Linear(vectors.shape[1], start.model.encoder.dim)

    def forward(self, step: Step) -> torch.Tensor:
        logits = step.model.head(self.projection(self.vectors)).float()
        return F.cross_entropy(logits, self.classes)
