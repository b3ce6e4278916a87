"""The contrast of labels: what is near and what is far, and who has nobody to be compared with."""

from __future__ import annotations

import math

import torch
from torch.nn import functional as F

from regraft.transfer.objectives import build_objectives
from regraft.transfer.objectives.supervised_contrast import supervised_contrast
from tests.transfer.objectives.support import examples, step_of, toy


def by_hand(x: torch.Tensor, labels: list[int], temperature: float) -> float:
    """Equation 2, example by example."""
    own = []
    for i, label in enumerate(labels):
        others = [j for j in range(len(labels)) if j != i]
        score = {j: float(x[i] @ x[j]) / temperature for j in others}
        total = math.log(sum(map(math.exp, score.values())))
        logs = [score[j] - total for j in others if labels[j] == label]
        own += [-sum(logs) / len(logs)] if logs else []
    return sum(own) / len(own)


def test_it_is_equation_2_and_a_class_of_one_has_no_loss_of_its_own() -> None:
    x, labels = F.normalize(examples(n=7), dim=1), [0, 0, 1, 1, 1, 2, 0]
    found = supervised_contrast(x, torch.tensor(labels), temperature=0.5)
    assert math.isclose(float(found), by_hand(x, labels, 0.5), rel_tol=1e-5)


def test_nobody_with_a_partner_is_no_loss_and_no_nan() -> None:
    x = F.normalize(examples(n=3), dim=1).requires_grad_()
    loss = supervised_contrast(x, torch.arange(3), temperature=0.1)
    loss.backward()
    assert float(loss.detach()) == 0.0
    assert x.grad is not None and torch.isfinite(x.grad).all()


def test_descending_it_parts_the_classes() -> None:
    model, x, kind = toy(), examples(), "supervised_contrast"
    term = build_objectives([{"kind": kind, "strength": 1.0}])[kind]
    targets = torch.eye(3)[(x[:, 0] > 0).long()]
    before = float(term(step_of(model, x, None, targets=targets)).detach())
    optimiser = torch.optim.Adam(model.encoder.parameters(), lr=0.05)
    for _ in range(50):
        optimiser.zero_grad()
        loss = term(step_of(model, x, None, targets=targets))
        loss.backward()
        optimiser.step()
    assert float(loss.detach()) < before - 0.3
