"""L2-SP: weight decay towards the starting point instead of towards zero.

Source: Li, Grandvalet and Davoine, "Explicit Inductive Bias for Transfer Learning", ICML 2018,
equation 2: L = 1/2 |w - w0|^2 over the parameters of the backbone. The head, which starts anew for
the task, keeps its plain weight decay (the paper's second term). Batch norm's statistics are no
parameters and stay out.

>>> from types import SimpleNamespace as Some
>>> model, term = Some(encoder=torch.nn.Linear(2, 1, bias=False)), Term()
>>> term.begin(Some(model=model))
>>> with torch.no_grad():
...     _ = model.encoder.weight.add_(torch.tensor([[3.0, 4.0]]))
>>> round(term(Some(model=model)).item(), 4)
12.5
"""

from __future__ import annotations

import torch

from regraft.transfer.objective import Objective
from regraft.transfer.objectives.anchor import flat_copy, half_squared_distance
from regraft.transfer.step import Start, Step


class Term(Objective):
    """Half the squared distance of the backbone to its start."""

    weights: torch.Tensor

    def begin(self, start: Start) -> None:
        self.register_buffer("weights", flat_copy(start.model.encoder), persistent=False)

    def forward(self, step: Step) -> torch.Tensor:
        return half_squared_distance(step.model.encoder, self.weights)
