"""Pull together what belongs together, push away the rest of the batch.

Sources: van den Oord, Li and Vinyals, "Representation Learning with Contrastive Predictive Coding",
2018, equation 4 (InfoNCE); Karpukhin et al., "Dense Passage Retrieval", EMNLP 2020, section 3.2
(in-batch and hard negatives); Khosla et al., "Supervised Contrastive Learning", NeurIPS 2020,
equation 2.
"""

from __future__ import annotations

import torch
from torch.nn import functional as F

_NEVER = -1e9


def info_nce(
    questions: torch.Tensor,
    passages: torch.Tensor,
    right: torch.Tensor,
    *,
    temperature: float,
) -> torch.Tensor:
    """Mean -log of the probability that a question (n, dim) picks its passage among all of
    `passages` (m, dim), and the passage its question, a scalar. Both have unit length.

    `right` (n, m) is True where a passage answers a question; the first n passages are the partners
    of the questions in order, those behind are further negatives. A second right passage is neither
    a partner nor a negative.

    >>> two = torch.eye(2)
    >>> info_nce(two, two, torch.eye(2, dtype=torch.bool), temperature=0.1).item() < 1e-4
    True
    """
    n = len(questions)
    partners = torch.arange(n, device=questions.device)
    also_right = right.clone()
    also_right[partners, partners] = False
    scores = (questions @ passages.T / temperature).masked_fill(also_right, _NEVER)
    both = F.cross_entropy(scores, partners) + F.cross_entropy(scores[:, :n].T, partners)
    return both / 2


def supervised_contrastive(
    embeddings: torch.Tensor, labels: torch.Tensor, *, temperature: float
) -> torch.Tensor:
    """Mean -log of the probability that an example (n, dim, unit length) picks one of its class
    among the others, a scalar; examples without a partner in the batch do not count.

    >>> apart = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    >>> supervised_contrastive(apart, torch.tensor([0, 0, 1, 1]), temperature=0.1).item() < 1e-3
    True
    """
    itself = torch.eye(len(labels), dtype=torch.bool, device=embeddings.device)
    scores = (embeddings @ embeddings.T / temperature).masked_fill(itself, _NEVER)
    partners = (labels[:, None] == labels[None]) & ~itself
    log_p = scores - scores.logsumexp(1, keepdim=True)
    counts = partners.sum(1)
    if not bool(counts.any()):
        return embeddings.sum() * 0
    return (-(log_p * partners).sum(1)[counts > 0] / counts[counts > 0]).mean()
