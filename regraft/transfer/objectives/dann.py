"""DANN: embeddings from which an adversary cannot tell the domain.

Source: Ganin et al., "Domain-Adversarial Training of Neural Networks", JMLR 2016, equation 9. With
a domain classifier D and embeddings f: L = -1/2 E_source log D(f) - 1/2 E_target log(1 - D(f)).
D lowers it, the encoder raises it through a gradient reversal whose scale grows (`reversal`).

>>> from regraft.transfer.objectives import build_objectives
>>> build_objectives([{"kind": "dann", "strength": 1.0, "hidden": 64}])["dann"].hidden
64
"""

from __future__ import annotations

import torch

from regraft.transfer.objective import Objective
from regraft.transfer.objectives.adversary import DomainClassifier, adversarial_loss
from regraft.transfer.objectives.domains import dims_of, target_of
from regraft.transfer.objectives.reversal import growing_scale
from regraft.transfer.step import Start, Step


class Term(Objective):
    """The adversary's loss; log 2 means that it cannot tell the domains."""

    needs_unlabelled = True
    classifier: DomainClassifier

    def __init__(self, *, hidden: int = 256) -> None:
        super().__init__()
        self.hidden = hidden

    def begin(self, start: Start) -> None:
        dim, _ = dims_of(start)
        # Embeddings have unit length: this gives the classifier coordinates of order 1.
        self.input_scale = dim**0.5
        self.classifier = DomainClassifier(dim, self.hidden)

    def forward(self, step: Step) -> torch.Tensor:
        return adversarial_loss(
            self.classifier,
            step.labelled.embeddings * self.input_scale,
            target_of(step).embeddings * self.input_scale,
            scale=growing_scale(step.progress),
        )
