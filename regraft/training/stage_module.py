"""One training step as one forward pass: batches in, losses out.

Everything that a step compares goes through the network together, and the losses are computed
inside, so that what Accelerate wraps for several processes sees every parameter exactly once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from regraft.training.inputs import Inputs
from regraft.training.losses import MainLoss, Tensors
from regraft.transfer.batches.replay import memory_loss
from regraft.transfer.objectives.feature_hint import TaughtStep
from regraft.transfer.step import Batch, Step


@dataclass(frozen=True)
class Remembered:
    """Old examples of a step: inputs, stored logits and targets (m, classes)."""

    inputs: list[torch.Tensor]
    logits: torch.Tensor
    targets: torch.Tensor
    weight: float = 1.0


@dataclass(frozen=True)
class Parts:
    """What a step is made of; `progress` is the share of the stage that is done.

    Losses are multiplied by `weight`, so that their mean over the processes is the mean over all
    examples of the batch, of which one process may have one more than another.
    """

    labelled: list[torch.Tensor]
    wanted: Tensors
    progress: float
    unlabelled: list[torch.Tensor] | None = None
    memory: Remembered | None = None
    weight: float = 1.0


class StageModule(nn.Module):
    """The model, and what it learns from, as one module.

    Parameters
    ----------
    terms : {kind: extra term}, weighed by `strengths` of the same names.
    replay : `alpha` and `beta` of the memory's loss.
    head_moves : a head that does not stays in eval mode.
    """

    def __init__(
        self,
        model: Any,
        inputs: Inputs,
        loss: MainLoss,
        terms: nn.ModuleDict,
        strengths: dict[str, float],
        *,
        replay: dict[str, Any],
        dropout: float,
        head_moves: bool,
    ) -> None:
        super().__init__()
        self.model = model
        self.terms = terms
        self._inputs, self._loss, self._strengths = inputs, loss, strengths
        self._replay, self._dropout, self._head_moves = replay, dropout, head_moves

    def train(self, mode: bool = True) -> StageModule:
        super().train(mode)
        if not self._head_moves:
            self.model.head.eval()
        return self

    def forward(self, parts: Parts) -> Tensors:
        """Scalars by name: the main losses, the terms times their strengths, "memory"."""
        groups = [parts.labelled, parts.unlabelled]
        groups += [parts.memory.inputs if parts.memory else None]
        labelled, unlabelled, old = self._through_the_network(groups)
        assert labelled is not None
        with torch.autocast(labelled.logits.device.type, enabled=False):
            losses = self._loss.losses(labelled.logits, parts.wanted)
            if self.terms:
                step = self._step(parts, labelled, unlabelled)
                losses |= {
                    kind: self._strengths[kind] * term(step) for kind, term in self.terms.items()
                }
            losses = {name: parts.weight * loss for name, loss in losses.items()}
            if old is not None and parts.memory is not None:
                losses["memory"] = parts.memory.weight * memory_loss(
                    old.logits,
                    parts.memory.logits,
                    parts.memory.targets,
                    alpha=self._replay["alpha"],
                    beta=self._replay["beta"],
                )
        return losses

    def _through_the_network(
        self, groups: Sequence[list[torch.Tensor] | None]
    ) -> list[Batch | None]:
        """Embeddings and logits of all groups, from one pass over their concatenation."""
        present = [group for group in groups if group is not None]
        together = present[0]
        if len(present) > 1:
            together = [torch.cat(tensors) for tensors in zip(*present, strict=True)]
        embeddings = self._inputs.embed(self.model.encoder, together)
        dropped = nn.functional.dropout(embeddings, self._dropout) if self._drops else embeddings
        logits = self.model.head(dropped).float()
        sizes = [len(group[0]) for group in present]
        parts = zip(embeddings.float().split(sizes), logits.split(sizes), strict=True)
        return [None if group is None else Batch(group, *next(parts)) for group in groups]

    @property
    def _drops(self) -> bool:
        return self.training and self._dropout > 0

    def _step(self, parts: Parts, labelled: Batch, unlabelled: Batch | None) -> Step:
        seen: dict[str, Any] = {
            "model": self.model,
            "embed": self._inputs.embed,
            "labelled": labelled,
            "targets": parts.wanted["labels"],
            "progress": parts.progress,
            "unlabelled": unlabelled,
        }
        if "embeddings" in parts.wanted:
            return TaughtStep(teacher_embeddings=parts.wanted["embeddings"], **seen)
        return Step(**seen)
