"""MCC: predictions on the target that confuse classes with each other as little as possible.

Source: Jin et al., "Minimum Class Confusion for Versatile Domain Adaptation", ECCV 2020, section
3.2. With probabilities Y (n, classes) at temperature T and weights w of examples, larger for
confident ones (1 + exp(-H), mean 1): C = Y' diag(w) Y, each row of C scaled to sum 1, and
L = sum of C off its diagonal / classes. 0 is no confusion, 1 - 1/classes all of it.

>>> float(class_confusion(torch.tensor([[100.0, 0.0], [0.0, 100.0]]), temperature=1.0))
0.0
>>> float(class_confusion(torch.zeros(4, 2), temperature=1.0))
0.5
"""

from __future__ import annotations

import torch

from regraft.transfer.objective import Objective
from regraft.transfer.objectives.domains import target_of
from regraft.transfer.step import Step


class Term(Objective):
    """The class confusion of a batch of the target domain."""

    needs_unlabelled = True

    def __init__(self, *, temperature: float = 2.5) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(self, step: Step) -> torch.Tensor:
        return class_confusion(target_of(step).logits, temperature=self.temperature)


def class_confusion(logits: torch.Tensor, *, temperature: float) -> torch.Tensor:
    """Mean confusion of a class with the others, 0 to 1; logits (n, classes)."""
    log_p = torch.log_softmax(logits / temperature, 1)
    probabilities = log_p.exp()
    # The weights say which examples to trust; they are not to be optimised themselves.
    certainty = 1 + torch.exp((probabilities * log_p).sum(1)).detach()
    weights = certainty / certainty.mean()
    correlation = (probabilities * weights.unsqueeze(1)).T @ probabilities
    confusion = correlation / correlation.sum(1, keepdim=True)
    return 1 - confusion.diagonal().mean()
