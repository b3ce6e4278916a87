"""Cross-entropy against soft targets, with class weights and label smoothing.

Label smoothing: Szegedy et al., "Rethinking the Inception Architecture", CVPR 2016, section 7:
q' = (1 - e) q + e / classes.

>>> import torch
>>> [round(q, 4) for q in smooth_targets(torch.tensor([[1.0, 0.0]]), 0.2)[0].tolist()]
[0.9, 0.1]
"""

from __future__ import annotations

import torch


def smooth_targets(targets: torch.Tensor, smoothing: float) -> torch.Tensor:
    """Targets (n, classes) mixed with the uniform distribution."""
    if smoothing == 0:
        return targets
    return targets * (1 - smoothing) + smoothing / targets.shape[1]


def soft_cross_entropy(
    logits: torch.Tensor, targets: torch.Tensor, class_weights: torch.Tensor | None = None
) -> torch.Tensor:
    """Mean of -sum_c w_c q_c log p_c over a batch; logits and targets (n, classes)."""
    weighted = targets if class_weights is None else targets * class_weights
    return -(weighted * torch.log_softmax(logits, 1)).sum(1).mean()
