"""Pseudo-labels: train on the target's own predictions where they are confident.

Sources: Lee, "Pseudo-Label", ICML workshops 2013, equation 15 (the label is the argmax); the
threshold of each class from Wang et al., "FreeMatch", ICLR 2023, equation 8: t_c = t q_c / max q,
with q the moving average of the mean prediction, so that classes that are not yet learned still get
labels (here never below one half: a label that is more likely wrong than right teaches nothing).
With A the accepted examples of a batch of n, and every class in A counting alike:
L = 1/n sum_A w_i CE(label_i, p_i), w_i = |A| / (classes in A * examples of the class in A).

>>> balanced_weights(torch.tensor([0, 0, 0, 2]), 3).tolist()
[0.6666666865348816, 0.6666666865348816, 0.6666666865348816, 2.0]
"""

from __future__ import annotations

import torch
from torch.nn.functional import cross_entropy

from regraft.transfer.objective import Objective
from regraft.transfer.objectives.domains import dims_of, target_of
from regraft.transfer.step import Start, Step

LOWEST_THRESHOLD = 0.5


class Term(Objective):
    """Cross-entropy with the confident predictions of a batch of the target domain."""

    needs_unlabelled = True
    mean_prediction: torch.Tensor

    def __init__(self, *, threshold: float = 0.95, momentum: float = 0.9) -> None:
        super().__init__()
        self.threshold = threshold
        self.momentum = momentum

    def begin(self, start: Start) -> None:
        _, classes = dims_of(start)
        self.register_buffer("mean_prediction", torch.full((classes,), 1 / classes))

    def forward(self, step: Step) -> torch.Tensor:
        logits = target_of(step).logits
        probabilities = logits.detach().float().softmax(1)
        self.mean_prediction.lerp_(probabilities.mean(0), 1 - self.momentum)
        confidence, labels = probabilities.max(1)
        accepted = confidence >= self.thresholds()[labels]
        losses = cross_entropy(logits[accepted], labels[accepted], reduction="none")
        # An empty sum is 0 with a gradient of 0, where no prediction is confident.
        weights = balanced_weights(labels[accepted], logits.shape[1])
        return (weights * losses).sum() / len(logits)

    def thresholds(self) -> torch.Tensor:
        """The confidence that each class needs now, (classes,)."""
        share = self.mean_prediction / self.mean_prediction.max()
        return (self.threshold * share).clamp(min=min(LOWEST_THRESHOLD, self.threshold))


def balanced_weights(labels: torch.Tensor, n_classes: int) -> torch.Tensor:
    """Weights (n,) of mean 1 under which every class among the labels counts alike."""
    counts = torch.bincount(labels, minlength=n_classes)
    return len(labels) / ((counts > 0).sum() * counts[labels])
