"""Standardised logits: the student learns their relations, not their range.

Source: Sun et al., "Logit Standardization in Knowledge Distillation", CVPR 2024, equation 11: each
example's logits become (z - mean) / spread before the temperature. Two standardised logits are
always the same two numbers, so this needs three classes.

>>> [round(z, 4) for z in standardised(torch.tensor([[0.0, 3.0, 6.0]]))[0].tolist()]
[-1.0, 0.0, 1.0]
"""

from __future__ import annotations

import torch

from regraft.errors import UserError


def standardised(logits: torch.Tensor) -> torch.Tensor:
    """Logits (n, classes) with mean 0 and standard deviation 1 in each row.

    Raises
    ------
    UserError
        There are fewer than three classes.
    """
    if logits.shape[1] < 3:
        raise UserError(
            "standardised logits of two classes teach nothing",
            where="distillation.answers.variant",
            got=f"{logits.shape[1]} classes",
            expected="at least 3",
            fix="choose the variant plain",
        )
    spread, mean = torch.std_mean(logits, 1, keepdim=True)
    return (logits - mean) / (spread + 1e-7)
