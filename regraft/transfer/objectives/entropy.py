"""Entropy minimisation: predictions on the target that are each confident, and diverse together.

Sources: Grandvalet and Bengio, "Semi-supervised Learning by Entropy Minimization", NeurIPS 2004,
equation 6; the diversity term from Liang et al., "Do We Really Need to Access the Source Data?"
(SHOT), ICML 2020, equation 3: L = mean H(p_i) - diversity * H(mean p_i). With diversity 1 this is
minus the mutual information of input and prediction. Without it one class may take everything.

>>> sure = torch.tensor([[50.0, 0.0], [0.0, 50.0]])
>>> round(float(information(sure, diversity=1.0)), 4)
-0.6931
"""

from __future__ import annotations

import math

import torch

from regraft.transfer.objective import Objective
from regraft.transfer.objectives.domains import target_of
from regraft.transfer.step import Step


class Term(Objective):
    """Mean entropy less entropy of the mean, of a batch of the target domain, in nats."""

    needs_unlabelled = True

    def __init__(self, *, diversity: float = 1.0) -> None:
        super().__init__()
        self.diversity = diversity

    def forward(self, step: Step) -> torch.Tensor:
        return information(target_of(step).logits, diversity=self.diversity)


def information(logits: torch.Tensor, *, diversity: float) -> torch.Tensor:
    """Mean H(p_i) - diversity * H(mean p_i) in nats; logits (n, classes)."""
    log_p = torch.log_softmax(logits, 1)
    of_each = -(log_p.exp() * log_p).sum(1).mean()
    log_mean = torch.logsumexp(log_p, 0) - math.log(len(logits))
    of_mean = -(log_mean.exp() * log_mean).sum()
    return of_each - diversity * of_mean
