"""A linear encoder with a linear head on two Gaussian domains: small enough to know the answers."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import nn

from regraft.transfer.objective import Objective
from regraft.transfer.step import Batch, Partners, Start, Step

INPUTS, DIM, CLASSES, N = 6, 5, 3, 48


class ToyEncoder(nn.Linear):
    """An encoder of one modality."""

    parts: tuple[int, ...] = ()

    @property
    def dim(self) -> int:
        return self.out_features


class Toy(nn.Module):
    """What an objective may use of a model."""

    def __init__(self, inputs: int = INPUTS, dim: int = DIM, classes: int = CLASSES) -> None:
        super().__init__()
        self.encoder: nn.Module = ToyEncoder(inputs, dim)
        self.head = nn.Linear(dim, classes)


def toy(seed: int = 0, **sizes: int) -> Toy:
    torch.manual_seed(seed)
    return Toy(**sizes).eval()


def embed(encoder: Any, inputs: list[torch.Tensor]) -> torch.Tensor:
    found: torch.Tensor = encoder(inputs[0])
    return found


def examples(shift: float = 0.0, n: int = N, seed: int = 1) -> torch.Tensor:
    """(n, inputs) around 0, or shifted and stretched: another domain."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, INPUTS, generator=generator)
    x[:, 1] *= 1 + abs(shift)
    x[:, 0] += shift
    return x


def soft_targets(n: int = N, seed: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.eye(CLASSES)[torch.randint(CLASSES, (n,), generator=generator)]


def batch_of(model: Any, x: torch.Tensor) -> Batch:
    embeddings = embed(model.encoder, [x])
    return Batch([x], embeddings, model.head(embeddings))


def start_of(model: Any, old: torch.Tensor | None = None, **more: Any) -> Start:
    x = examples() if old is None else old

    def batches() -> Iterator[tuple[list[torch.Tensor], torch.Tensor]]:
        for inputs, targets in zip(x.split(10), soft_targets(len(x)).split(10), strict=True):
            yield [inputs], targets

    more = {"partners": partners()} | more
    return Start(model, embed, batches, [x[:1]], np.random.default_rng(0), **more)


def partners(per_class: int = 4, dim: int = 7) -> Partners:
    """Of every class some vectors around a centre of its own."""
    rng = np.random.default_rng(5)
    classes = np.repeat(np.arange(CLASSES), per_class)
    vectors = rng.normal(size=(CLASSES, dim))[classes] + 0.1 * rng.normal(size=(len(classes), dim))
    return Partners(vectors, classes)


def step_of(
    model: Any,
    source: torch.Tensor,
    target: torch.Tensor | None,
    *,
    progress: float = 0.5,
    targets: torch.Tensor | None = None,
) -> Step:
    return Step(
        model,
        embed,
        batch_of(model, source),
        soft_targets(len(source)) if targets is None else targets,
        progress,
        None if target is None else batch_of(model, target),
    )


def begun(term: Objective, model: Any, seed: int = 0) -> Objective:
    """The term after `begin` on a copy of the model, as it is now."""
    torch.manual_seed(seed)
    term.begin(start_of(copy.deepcopy(model)))
    return term


def descend(
    term: Objective,
    model: Any,
    source: torch.Tensor,
    target: torch.Tensor,
    *,
    steps: int = 30,
    rate: float = 0.1,
) -> list[float]:
    """The term over steps of gradient descent of the model and of the term's own parameters."""
    parameters = [*model.parameters(), *term.parameters()]
    optimiser = torch.optim.SGD(parameters, lr=rate)
    values = []
    for number in range(steps):
        value = term(step_of(model, source, target, progress=number / steps))
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
        values.append(value.item())
    return values
