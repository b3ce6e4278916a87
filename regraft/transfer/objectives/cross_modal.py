"""Embeddings near those of the same thing in another modality, far from those of other things.

Sources: Radford et al., "Learning Transferable Visual Models From Natural Language Supervision",
ICML 2021, section 2.3 (symmetric InfoNCE between two projections); Khosla et al., NeurIPS 2020,
equation 2 (several partners of one example). A recording's partners are the motions of its word. Of
an example whose own embedding has two parts, image and text, the parts are each other's partners.

>>> a = torch.eye(3)
>>> float(contrast(a, a, torch.eye(3, dtype=torch.bool), temperature=0.05)) < 1e-6
True
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from regraft.errors import UserError
from regraft.transfer.objective import Objective
from regraft.transfer.objectives.contrastive import mean_log_loss
from regraft.transfer.step import Start, Step

_SAME = 1 - 1e-5


class Term(Objective):
    """The contrast in both directions, after a linear projection of each modality that learns."""

    needs_partners = True
    vectors: torch.Tensor | None
    classes: torch.Tensor

    def __init__(self, *, temperature: float = 0.1, width: int = 128) -> None:
        super().__init__()
        self.temperature, self.width = temperature, width
        self.parts: tuple[int, ...] = ()
        self.register_buffer("vectors", None)

    def begin(self, start: Start) -> None:
        """Raises UserError where the examples have no other modality."""
        self.parts = start.model.encoder.parts
        if start.partners is not None:
            sides = (start.model.encoder.dim, start.partners.vectors.shape[1])
            self.register_buffer("vectors", torch.from_numpy(start.partners.vectors).float())
            self.register_buffer("classes", torch.from_numpy(start.partners.classes).long())
        elif len(self.parts) == 2:
            sides = (self.parts[0], self.parts[1])
        else:
            raise UserError(
                "there is no other modality to draw near",
                where="finetune.objectives (cross_modal)",
                expected="recordings that are paired with motions, or pairs of image and text",
                fix="leave the term out",
            )
        self.projections = nn.ModuleList(nn.Linear(side, self.width, bias=False) for side in sides)

    def forward(self, step: Step) -> torch.Tensor:
        embeddings = step.labelled.embeddings
        if self.vectors is not None:
            sides = (embeddings, self.vectors)
            same = step.targets.argmax(1)[:, None] == self.classes[None]
        else:
            first, second, _ = embeddings.tensor_split([self.parts[0], sum(self.parts)], dim=1)
            sides = (first, second)
            text = F.normalize(second.detach(), dim=1)
            same = text @ text.T >= _SAME  # one question about many images is no negative
        near = [F.normalize(p(x), dim=1) for p, x in zip(self.projections, sides, strict=True)]
        return contrast(near[0], near[1], same, temperature=self.temperature)


def contrast(
    x: torch.Tensor, y: torch.Tensor, same: torch.Tensor, *, temperature: float
) -> torch.Tensor:
    """Mean of both directions for x (n, d) and y (m, d) of unit length; `same` (n, m) says who
    belongs together. Those without a partner have no loss of their own."""
    scores = x @ y.T / temperature
    return (mean_log_loss(scores, same) + mean_log_loss(scores.T, same.T)) / 2
