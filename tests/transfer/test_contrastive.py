"""The contrastive losses against their formulas."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from regraft.transfer.objectives.contrastive import info_nce


def unit(*shape: int) -> torch.Tensor:
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(0)), dim=1)


def test_info_nce_is_cross_entropy_both_ways() -> None:
    x = unit(10, 5)
    questions, passages = x[:3], x[3:]
    right = torch.eye(3, 7, dtype=torch.bool)
    scores = questions @ passages.T / 0.2
    partners = torch.arange(3)
    expected = F.cross_entropy(scores, partners) + F.cross_entropy(scores[:, :3].T, partners)
    assert info_nce(questions, passages, right, temperature=0.2) == pytest.approx(
        expected.item() / 2, abs=1e-6
    )


def test_a_second_right_passage_is_no_negative() -> None:
    """Question 0 is answered by passage 1 too: moving that passage changes nothing for it."""
    x = unit(8, 5)
    right = torch.tensor([[True, True, False], [True, True, False]])
    first = info_nce(x[:2], x[2:5], right, temperature=0.2)
    alone = F.cross_entropy((x[:2] @ x[2:5].T / 0.2)[[0, 1]][:, [0, 2]][:1], torch.tensor([0]))
    other = F.cross_entropy((x[:2] @ x[2:5].T / 0.2)[[1]][:, [1, 2]], torch.tensor([0]))
    assert first == pytest.approx(((alone + other) / 2 + 0.0).item() / 2, abs=1e-6)
