"""LwF: on the new examples, answer as the model did before fine-tuning.

Source: Li and Hoiem, "Learning without Forgetting", ECCV 2016, equations 2 to 4 (as a divergence,
which differs by a constant): L = T^2 KL(p_start^T || p^T), the answers of a frozen copy of the
starting model on the same inputs. Inputs of the target domain are used too where there are any: no
label is read. As in the paper only old outputs are held: classes for which the starting head is a
row of zeros, as of a task that has just begun (`training.sequence`), are left out of both answers.

>>> from regraft.transfer.objectives import build_objectives
>>> build_objectives([{"kind": "lwf", "strength": 1.0, "temperature": 3.0}])["lwf"].temperature
3.0
"""

from __future__ import annotations

import copy
from typing import Any

import torch

from regraft.transfer.known_classes import known_classes
from regraft.transfer.objective import Objective
from regraft.transfer.objectives.distillation import soft_answers
from regraft.transfer.step import Batch, Start, Step


class Term(Objective):
    """Divergence from the starting model's answers, mean over the batches there are."""

    def __init__(self, *, temperature: float = 2.0) -> None:
        super().__init__()
        self.temperature = temperature

    def begin(self, start: Start) -> None:
        # In a tuple, torch does not see a submodule: no .train(), optimiser or checkpoint has it.
        self._reference = (copy.deepcopy(start.model).eval().requires_grad_(False),)
        self._old = known_classes(getattr(start.model.head, "weight", None))

    def forward(self, step: Step) -> torch.Tensor:
        batches = [step.labelled] + ([step.unlabelled] if step.unlabelled is not None else [])
        return torch.stack([self._divergence(step, batch) for batch in batches]).mean()

    def _divergence(self, step: Step, batch: Batch) -> torch.Tensor:
        reference: Any = self._reference[0].to(batch.logits.device)
        with torch.no_grad():
            answers = reference.head(step.embed(reference.encoder, batch.inputs))
        old = slice(None) if self._old is None else self._old.to(answers.device)
        return soft_answers(batch.logits[:, old], answers[:, old], temperature=self.temperature)
