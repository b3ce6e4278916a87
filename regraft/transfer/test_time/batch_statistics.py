"""Batch norm with the statistics of what is being asked, mixed with those of training.

Source: Schneider et al., "Improving robustness against common corruptions by covariate shift
adaptation", NeurIPS 2020, equation 3: m = N / (N + n) m_s + n / (N + n) m_t over n inputs, N the
weight of the training statistics in inputs (likewise the variance).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

PRIOR = 16


def adapt(model: Any, batches: Sequence[torch.Tensor], *, prior: int = PRIOR) -> Any:
    """Change the running statistics of every batch norm in place and return the model."""
    from regraft.transfer.test_time import norms

    model.eval()
    layers, count = norms(model), sum(len(batch) for batch in batches)
    before = [(layer.running_mean.clone(), layer.running_var.clone()) for layer in layers]  # type: ignore[union-attr]
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # a plain mean over the batches
        layer.train()
    with torch.no_grad():
        for batch in batches:
            model.encoder(batch)
    share = count / (count + prior)
    for layer, (mean, variance), momentum in zip(layers, before, momenta, strict=True):
        layer.running_mean = (1 - share) * mean + share * layer.running_mean  # type: ignore[operator]
        layer.running_var = (1 - share) * variance + share * layer.running_var  # type: ignore[operator]
        layer.momentum = momentum
    return model.eval()
