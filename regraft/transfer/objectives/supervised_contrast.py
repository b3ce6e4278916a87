"""Embeddings of one class draw together, those of different classes apart.

Source: Khosla et al., "Supervised Contrastive Learning", NeurIPS 2020, equation 2, on the examples
of a batch. An example that is alone with its class there is a negative of the others and has no
loss of its own.

>>> two = torch.eye(2)[[0, 0, 1, 1]]
>>> round(float(supervised_contrast(two, torch.tensor([0, 0, 1, 1]), temperature=0.1)), 3)
0.0
"""

from __future__ import annotations

import torch
from torch.nn import functional as F

from regraft.transfer.objective import Objective
from regraft.transfer.objectives.contrastive import mean_log_loss
from regraft.transfer.step import Step


class Term(Objective):
    """The contrast of the labelled batch. A mixed example counts for its larger label."""

    def __init__(self, *, temperature: float = 0.1) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(self, step: Step) -> torch.Tensor:
        embeddings = F.normalize(step.labelled.embeddings, dim=1)
        labels = step.targets.argmax(1)
        return supervised_contrast(embeddings, labels, temperature=self.temperature)


def supervised_contrast(
    embeddings: torch.Tensor, labels: torch.Tensor, *, temperature: float
) -> torch.Tensor:
    """Mean over the examples that have partners; embeddings (n, dim) of unit length, labels (n,)
    class numbers. 0 where nobody has a partner."""
    itself = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    partners = (labels[:, None] == labels[None]) & ~itself
    scores = (embeddings @ embeddings.T / temperature).masked_fill(itself, -torch.inf)
    return mean_log_loss(scores, partners)
