"""The port of extra terms of the loss."""

from __future__ import annotations

import torch
from torch import nn

from regraft.transfer.step import Start, Step


class Objective(nn.Module):
    """One extra term. Its own parameters learn at `learning_rate` beside the model's.

    `needs_unlabelled` says that the term reads a batch of the target domain, `needs_partners` that
    it reads what the examples are in another modality, where they have one.
    """

    needs_unlabelled = False
    needs_partners = False
    learning_rate = 1e-3

    def begin(self, start: Start) -> None:
        """Learn what the term must remember of the weights that fine-tuning begins with."""

    def forward(self, step: Step) -> torch.Tensor:
        """The term of one step, a scalar before its strength."""
        raise NotImplementedError
