"""EWC: the weights that the old examples depend on are held, the others are free to move.

Source: Kirkpatrick et al., "Overcoming catastrophic forgetting in neural networks", PNAS 2017,
equation 3: L = 1/2 sum_i F_i (w_i - w0_i)^2, F_i the mean over old examples of the squared
derivative of their log-likelihood (the empirical Fisher information of their labels; van de Ven,
"On the Computation of the Fisher Information in Continual Learning", 2025, compares the choices).

F is divided by its mean over the parameters that have a gradient, so that a strength means what it
means for L2-SP, which this is where F is uniform. Batch norm stays in eval mode: no buffer moves.
The likelihood is that among the classes which the start knows (`known_classes`); others, for which
it has no answer yet, would take a share of every probability.

>>> from regraft.transfer.objectives import build_objectives
>>> build_objectives([{"kind": "ewc", "strength": 0.1, "examples": 64}])["ewc"].examples
64
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch

from regraft.errors import UserError
from regraft.transfer.known_classes import known_classes
from regraft.transfer.objective import Objective
from regraft.transfer.objectives.anchor import flat_copy, half_squared_distance
from regraft.transfer.objectives.classification import soft_cross_entropy
from regraft.transfer.step import Embed, Start, Step

Example = tuple[list[torch.Tensor], torch.Tensor]
"""Inputs and targets of a batch, or of a batch of one."""


class Term(Objective):
    """Half the squared distance of the backbone to its start, by importance of the weights."""

    weights: torch.Tensor
    importance: torch.Tensor

    def __init__(self, *, examples: int = 256, batch_size: int = 1) -> None:
        super().__init__()
        self.examples = examples
        self.batch_size = batch_size

    def begin(self, start: Start) -> None:
        """Measure the importance of every weight.

        Raises
        ------
        UserError
            No weight matters: the model is certain of every old example.
        """
        chosen = sample(_singly(start.old()), self.examples, start.rng)
        fisher, reached = diagonal_fisher(
            start.model, start.embed, chosen, batch_size=self.batch_size
        )
        mean = fisher[reached].mean() if reached.any() else fisher.sum()
        if not mean > 0:
            raise UserError(
                "EWC finds no weight that the old examples depend on",
                where="finetune.objectives",
                got=f"Fisher information 0 on {len(chosen)} examples",
                fix="use l2_sp, which needs no gradient",
            )
        self.register_buffer("weights", flat_copy(start.model.encoder), persistent=False)
        self.register_buffer("importance", fisher / mean, persistent=False)

    def forward(self, step: Step) -> torch.Tensor:
        return half_squared_distance(step.model.encoder, self.weights, self.importance)


def diagonal_fisher(
    model: Any, embed: Embed, examples: list[Example], *, batch_size: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean squared derivative of the log-likelihood, (p,) over the encoder's parameters, and
    which of them the gradient reaches (a frozen trunk is out of reach).

    `batch_size` 1 is exact. Larger batches square the gradient of their sum: the same in
    expectation where the mean gradient is 0, as it is near an optimum.
    """
    model = copy.deepcopy(model).eval().requires_grad_(True)
    parameters = list(model.encoder.parameters())
    known = known_classes(getattr(model.head, "weight", None))
    sums = [torch.zeros_like(parameter) for parameter in parameters]
    reached = [False] * len(parameters)
    for inputs, targets in _batches(examples, batch_size):
        logits = model.head(embed(model.encoder, inputs))
        targets = targets.to(logits.device)
        if known is not None:
            logits, targets = logits[:, known], targets[:, known]
        loss = soft_cross_entropy(logits, targets) * len(targets)
        gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
        for index, gradient in enumerate(gradients):
            if gradient is not None:
                sums[index] += gradient.square()
                reached[index] = True
    fisher = torch.cat([total.flatten() for total in sums]) / len(examples)
    mask = [torch.full((p.numel(),), hit) for p, hit in zip(parameters, reached, strict=True)]
    return fisher, torch.cat(mask).to(fisher.device)


def sample(examples: Iterable[Example], size: int, rng: np.random.Generator) -> list[Example]:
    """`size` of a stream of any length, each as likely as any other (Vitter, ACM TOMS 1985)."""
    kept: list[Example] = []
    for seen, example in enumerate(examples):
        if seen < size:
            kept.append(example)
        elif (place := int(rng.integers(seen + 1))) < size:
            kept[place] = example
    return kept


def _singly(batches: Iterable[Example]) -> Iterator[Example]:
    """Each example as a batch of one, copied so that the rest of its batch can be freed."""
    for inputs, targets in batches:
        for index in range(len(targets)):
            one = slice(index, index + 1)
            yield [x[one].clone() for x in inputs], targets[one].clone()


def _batches(examples: list[Example], size: int) -> Iterator[Example]:
    for first in range(0, len(examples), size):
        inputs, targets = zip(*examples[first : first + size], strict=True)
        yield [torch.cat(parts) for parts in zip(*inputs, strict=True)], torch.cat(targets)
