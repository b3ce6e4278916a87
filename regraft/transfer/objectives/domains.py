"""What the terms between two domains have in common."""

from __future__ import annotations

import torch

from regraft.transfer.step import Batch, Start, Step


def target_of(step: Step) -> Batch:
    """The unlabelled batch of the target domain.

    Raises
    ------
    ValueError
        There is none, though the term says that it needs one.
    """
    if step.unlabelled is None:
        raise ValueError("this objective needs a batch of the target domain in every step")
    return step.unlabelled


@torch.no_grad()
def dims_of(start: Start) -> tuple[int, int]:
    """Length of the embeddings and number of classes."""
    embeddings = start.embed(start.model.encoder, start.example)
    return embeddings.shape[1], start.model.head(embeddings).shape[1]
