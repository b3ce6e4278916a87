"""The ports of fine-tuning, filled from plain options: terms, gradients, batches, averages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from regraft.errors import UserError
from regraft.progress import note
from regraft.training.inputs import Inputs
from regraft.training.losses import MainLoss, one_hot
from regraft.training.sources import Data, Sources
from regraft.transfer.averaging import Average, build_averages
from regraft.transfer.batches.replay import Memory, choose
from regraft.transfer.gradients import Combination, build_gradients
from regraft.transfer.known_classes import known_classes
from regraft.transfer.objectives import build_objectives
from regraft.transfer.objectives.feature_hint import TaughtStart
from regraft.transfer.step import Start

_BATCH = 32


@dataclass(frozen=True)
class Ports:
    """Options of every port, as the recipe names them. The defaults are plain fine-tuning."""

    objectives: Sequence[dict[str, Any]] = ()
    gradients: dict[str, Any] = field(default_factory=lambda: {"kind": "sum"})
    sampling: dict[str, Any] = field(default_factory=lambda: {"kind": "shuffled"})
    replay: dict[str, Any] = field(default_factory=lambda: {"size": 0})
    averaging: Sequence[dict[str, Any]] = ()


class Filled:
    """What the options of the ports were built into, for one run.

    Attributes
    ----------
    terms : {kind: extra term of the loss}; `strengths` by the same names.
    memory : old examples that are replayed, if any; None before `begin`.
    """

    def __init__(self, ports: Ports, *, seed: int) -> None:
        self.options = ports
        self.seed = seed
        self.terms: nn.ModuleDict = build_objectives(ports.objectives)
        self.strengths = {one["kind"]: float(one["strength"]) for one in ports.objectives}
        self.combination: Combination = build_gradients(ports.gradients, seed=seed)
        self.averages: list[Average] = build_averages(list(ports.averaging))
        self.memory: Memory | None = None

    @property
    def needs_unlabelled(self) -> bool:
        return any(bool(term.needs_unlabelled) for term in self.terms.values())

    @property
    def needs_partners(self) -> bool:
        return any(bool(term.needs_partners) for term in self.terms.values())

    def used(self, data: Data) -> Data:
        """`data` without the parts that nothing reads, so that nothing is computed for them.

        Raises
        ------
        UserError
            A term needs examples of the target domain, or the gradients a memory, and there is
            none.
        """
        if self.needs_unlabelled and (data.unlabelled is None or not len(data.unlabelled)):
            needing = [kind for kind, term in self.terms.items() if term.needs_unlabelled]
            raise UserError(
                f"{', '.join(needing)} needs unlabelled examples of the target domain",
                where="finetune.objectives",
                got="none",
                fix="set data.target_domain, or drop the objective",
            )
        if self.combination.needs_memory and not self.replays:
            raise UserError(
                f"gradients of kind {self.options.gradients['kind']} need replayed examples",
                where="finetune.replay",
                got=f"{self.options.replay}",
                expected="a size, how many old examples to remember, and a weight alpha or beta",
            )
        return replace(
            data,
            unlabelled=data.unlabelled if self.needs_unlabelled else None,
            target=data.target if self.needs_unlabelled else None,
            old=data.old if self.begins else None,
            partners=data.partners if self.needs_partners else None,
        )

    def begin(self, model: Any, data: Data, sources: Sources, loss: MainLoss) -> None:
        """Let terms and memory learn what they remember of the weights that the run begins with."""
        model.eval()
        if self.terms:
            torch.manual_seed(self.seed)
            start = _start(model, data, sources, loss, self.seed)
            for term in self.terms.values():
                term.begin(start)  # type: ignore[operator]
            self.terms.to(model.encoder.device)
        if self.replays:
            self.memory = _remembered(model, data, sources, loss, self.options.replay, self.seed)

    @property
    def begins(self) -> bool:
        """Whether anything has to be learned of the starting weights."""
        return bool(self.terms) or self.replays

    @property
    def replays(self) -> bool:
        """Whether old examples are shown again. Those that weigh nothing are not: beside them in a
        batch the same example has other rounding errors."""
        how = self.options.replay
        return bool(how["size"]) and how["alpha"] + how["beta"] > 0

    def state_dict(self) -> dict[str, Any]:
        return {
            "terms": self.terms.state_dict(),
            "combination": self.combination.state_dict(),
            "averages": [average.state_dict() for average in self.averages],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.terms.load_state_dict(state["terms"])
        self.combination.load_state_dict(state["combination"])
        for average, own in zip(self.averages, state["averages"], strict=True):
            average.load_state_dict(own)


def _start(model: Any, data: Data, sources: Sources, loss: MainLoss, seed: int) -> Start:
    inputs = sources.old or sources.train
    labels = loss.labels if sources.old is None else _old_labels(data)
    first = np.array([0])
    found: dict[str, Any] = {
        "model": model,
        "embed": sources.train.embed,
        "old": lambda: _labelled_batches(model, inputs, labels, loss.n_classes),
        "example": [x.to(model.encoder.device) for x in sources.train.batch(first, 0 * first)],
        "rng": np.random.default_rng(seed),
        "partners": data.partners() if data.partners else None,
    }
    if loss.teacher_dim:
        return TaughtStart(teacher_dim=loss.teacher_dim, **found)
    return Start(**found)


def _labelled_batches(
    model: Any, inputs: Inputs, labels: np.ndarray, n_classes: int
) -> Iterator[tuple[list[torch.Tensor], torch.Tensor]]:
    device = model.encoder.device
    for start in range(0, len(inputs), _BATCH):
        chosen = np.arange(start, min(start + _BATCH, len(inputs)))
        batch = [x.to(device) for x in inputs.batch(chosen, 0 * chosen)]
        yield batch, one_hot(labels[chosen], n_classes).to(device)


def _remembered(
    model: Any, data: Data, sources: Sources, loss: MainLoss, replay: dict[str, Any], seed: int
) -> Memory | None:
    """Old examples with the answers of the model that the run begins with."""
    if sources.old is None:
        note("there are no old examples to replay")
        return None
    labels = _old_labels(data)
    kept = choose(labels, replay["size"], replay["choice"], np.random.default_rng(seed))
    answers = []
    with torch.inference_mode():
        for start in range(0, len(kept), _BATCH):
            chosen = kept[start : start + _BATCH]
            batch = [x.to(model.encoder.device) for x in sources.old.batch(chosen, 0 * chosen)]
            answers.append(model.head(sources.old.embed(model.encoder, batch)).float().cpu())
    logits = torch.cat(answers).clone()
    known = known_classes(getattr(model.head, "weight", None))
    if known is not None:
        logits[:, ~known.cpu()] = torch.nan
    return Memory(kept, logits, one_hot(labels[kept], loss.n_classes))


def _old_labels(data: Data) -> np.ndarray:
    if data.old_labels is None:
        raise ValueError("Data.old without Data.old_labels")
    return data.old_labels
