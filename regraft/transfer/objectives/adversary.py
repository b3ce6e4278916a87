"""The domain classifier of adversarial adaptation, and the game that it plays.

Source: Ganin et al., JMLR 2016, section 4.2: the classifier lowers the cross-entropy of telling
source from target; the features, behind a gradient reversal, raise it.
"""

from __future__ import annotations

import torch
from torch import nn

from regraft.transfer.objectives.reversal import reverse


class DomainClassifier(nn.Module):
    """Two hidden layers; (n, dim) with coordinates of order 1 to logits (n,) of being source."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(dim, hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, 1),
        )

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.layers(features)
        return logits.squeeze(1)


def adversarial_loss(
    classifier: DomainClassifier,
    source: torch.Tensor,
    target: torch.Tensor,
    *,
    scale: float,
    source_weights: torch.Tensor | None = None,
    target_weights: torch.Tensor | None = None,
) -> torch.Tensor:
    """Cross-entropy of the domains, reversed by `scale` for the features (n, dim), (m, dim).

    Both domains count half, whatever their sizes; weights (n,), (m,) share within a domain.
    """
    logits = classifier(reverse(torch.cat([source, target]), scale))
    from_source, from_target = logits.split([len(source), len(target)])
    return 0.5 * (
        _weighted_mean(nn.functional.softplus(-from_source), source_weights)
        + _weighted_mean(nn.functional.softplus(from_target), target_weights)
    )


def _weighted_mean(values: torch.Tensor, weights: torch.Tensor | None) -> torch.Tensor:
    return values.mean() if weights is None else (values * weights).sum() / weights.sum()
