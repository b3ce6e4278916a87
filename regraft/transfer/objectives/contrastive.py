"""Pull together what belongs together, push away the rest of the batch.

Sources: van den Oord, Li and Vinyals, "Representation Learning with Contrastive Predictive Coding",
2018, equation 4 (InfoNCE); Karpukhin et al., "Dense Passage Retrieval", EMNLP 2020, section 3.2
(in-batch and hard negatives).
"""

from __future__ import annotations

import torch
from torch.nn import functional as F

_NEVER = -1e9


def mean_log_loss(scores: torch.Tensor, partners: torch.Tensor) -> torch.Tensor:
    """-log softmax of scores (n, m) on the `partners` (n, m) of each row, averaged over these and
    then over the rows that have any; 0 where none has."""
    log_p = scores.log_softmax(1).masked_fill(~partners, 0.0)
    count = partners.sum(1)
    return -(log_p.sum(1) / count.clamp(min=1)).sum() / (count > 0).sum().clamp(min=1)


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
