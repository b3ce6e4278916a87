"""Learn by contrast how questions and the passages that answer them are moved towards each other.

The encoder is frozen and has been asked once, so a step costs two small matrix products. Maps
that start at zero and are held there by weight decay (L2-SP: the start is the general encoder)
learn from hundreds of pairs without losing what the encoder knows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from regraft.tasks.matching import Adapter


@dataclass(frozen=True)
class Contrast:
    """How an adapter is learned.

    Attributes
    ----------
    hard_negatives : wrong passages per question that come into every batch: those that the frozen
        encoder likes best.
    anchor : strength of half the squared distance of the maps to zero.
    """

    epochs: int = 30
    batch_size: int = 128
    learning_rate: float = 1e-3
    temperature: float = 0.05
    hard_negatives: int = 2
    anchor: float = 0.06
    dropout: float = 0.1


def fit_adapter(
    questions: np.ndarray,
    passages: np.ndarray,
    right: np.ndarray,
    how: Contrast | None = None,
    *,
    seed: int = 0,
) -> Adapter:
    """Fit on embeddings of questions (n, dim) and passages (m, dim) of unit length; `right` (n,) is
    the number of the passage that answers each question."""
    import torch
    from torch.nn import functional as F

    from regraft.transfer.objectives.contrastive import info_nce

    how = how or Contrast()
    rng, torch_rng = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    q, p = torch.from_numpy(questions).float(), torch.from_numpy(passages).float()
    hard = hard_negatives(questions, passages, right, how.hard_negatives)
    maps = [torch.zeros(q.shape[1], q.shape[1], requires_grad=True) for _ in range(2)]
    optimiser = torch.optim.Adam(maps, lr=how.learning_rate)

    def moved(x: torch.Tensor, change: torch.Tensor) -> torch.Tensor:
        keep = torch.rand(x.shape, generator=torch_rng) >= how.dropout
        x = x * keep / (1 - how.dropout)
        return F.normalize(x + x @ change, dim=1)

    for _ in range(how.epochs):
        for chosen in _batches(rng.permutation(len(q)), how.batch_size):
            shown = np.concatenate([right[chosen], hard[chosen].ravel()])
            answers = torch.from_numpy(right[chosen][:, None] == shown[None])
            loss = info_nce(
                moved(q[chosen], maps[0]),
                moved(p[shown], maps[1]),
                answers,
                temperature=how.temperature,
            )
            loss = loss + how.anchor / 2 * sum(m.square().sum() for m in maps)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    question, passage = (m.detach().numpy() for m in maps)
    return Adapter(question, passage)


def hard_negatives(
    questions: np.ndarray, passages: np.ndarray, right: np.ndarray, count: int
) -> np.ndarray:
    """Numbers of the `count` most similar wrong passages of each question, (n, count)."""
    similar = questions @ passages.T
    similar[np.arange(len(right)), right] = -np.inf
    return np.asarray(np.argsort(-similar, axis=1, kind="stable")[:, :count])


def _batches(order: np.ndarray, size: int) -> list[np.ndarray]:
    return np.array_split(order, max(1, round(len(order) / size)))
