"""Teach a text encoder the embeddings of a larger one; no labels are read.

    loss = mean(1 - cos(s, t)) + KL(softmax(T T' / tau) || softmax(S S' / tau))

s and t are the unit-length embeddings of a text by student and teacher, S and T those of a batch.
The first term is half their squared distance (Reimers and Gurevych, "Making Monolingual Sentence
Embeddings Multilingual using Knowledge Distillation", EMNLP 2020); the second one matches which
texts of a batch are near each other, which is what a search reads (Passalis and Tefas, "Learning
Deep Representations with Probabilistic Knowledge Transfer", ECCV 2018). A student of another width
learns the second term alone. It is meant to begin with some of the teacher's layers (Sanh et al.,
"DistilBERT", 2019, section 3).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from regraft.backbones.transformer import TransformerEncoder
from regraft.progress import track
from regraft.training.excerpts import length_batches
from regraft.transfer.rates import warmup_cosine

_WARMUP = 0.1


@dataclass(frozen=True)
class Lessons:
    """How a student is taught.

    Attributes
    ----------
    temperature : tau, of the similarities within a batch.
    similarity_weight : factor of the second term.
    """

    epochs: int = 4
    learning_rate: float = 6e-4
    batch_size: int = 32
    temperature: float = 0.05
    similarity_weight: float = 1.0


def teach_embeddings(
    student: TransformerEncoder,
    texts: Sequence[str],
    targets: np.ndarray,
    how: Lessons | None = None,
    *,
    seed: int = 0,
) -> list[float]:
    """Train the student in place on `texts` and the teacher's unit-length embeddings of them,
    `targets` (n, dim). Token embeddings stay, so that words which no text holds keep their meaning.

    Returns the mean loss of every epoch; the student is left in eval mode.
    """
    how = how or Lessons()
    rng = np.random.default_rng(seed)
    lengths = np.array([len(ids) for ids in student.tokens.ids(texts)])
    wanted = torch.from_numpy(np.asarray(targets, dtype=np.float32)).to(student.device)
    student.requires_grad_(False)
    moving = [one for block in student.blocks[1:] for one in student.parameters_of(block.index)]
    for parameter in moving:
        parameter.requires_grad_(True)
    optimiser = torch.optim.AdamW(moving, lr=how.learning_rate, weight_decay=0.01)
    total = how.epochs * -(-len(texts) // how.batch_size)
    losses: list[list[float]] = [[] for _ in range(how.epochs)]
    steps = ((epoch, chosen) for epoch in range(how.epochs)
             for chosen in length_batches(lengths, how.batch_size, rng))  # fmt: skip
    student.eval()  # without dropout: the teacher's embeddings were made without
    for step, (epoch, chosen) in enumerate(track(steps, "teaching embeddings", total=total)):
        for group in optimiser.param_groups:
            factor = warmup_cosine(step, total=total, warmup=round(_WARMUP * total))
            group["lr"] = how.learning_rate * factor
        x = student.tokens.tensor([texts[index] for index in chosen]).to(student.device)
        loss = embedding_loss(student(x), wanted[chosen], how)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(moving, 1.0)
        optimiser.step()
        losses[epoch].append(float(loss.detach()))
    student.requires_grad_(False)
    return [float(np.mean(own)) for own in losses]


def embedding_loss(student: torch.Tensor, teacher: torch.Tensor, how: Lessons) -> torch.Tensor:
    """Of embeddings (n, dim) and (n, teacher's dim) of unit length; 0 where they are equal."""
    alone = torch.eye(len(student), dtype=torch.bool, device=student.device)
    mine, theirs = (
        F.log_softmax((x @ x.T / how.temperature).masked_fill(alone, -1e4), dim=1)
        for x in (student, teacher)
    )
    similar = F.kl_div(mine, theirs, reduction="batchmean", log_target=True)
    loss = how.similarity_weight * similar
    if student.shape == teacher.shape:
        loss = loss + (1 - (student * teacher).sum(1)).mean()
    return loss
