"""Recordings and the motions of their words, images and texts: drawn together, told apart."""

from __future__ import annotations

import copy

import pytest
import torch
from torch.nn import functional as F

from regraft.errors import UserError
from regraft.transfer.objectives import build_objectives
from regraft.transfer.objectives.cross_modal import contrast
from tests.transfer.objectives.support import Toy, examples, partners, start_of, step_of, toy

N = 48


def descended(model: Toy, kind: str, targets: torch.Tensor, **start: object) -> tuple[float, float]:
    """The term before and after 80 steps of the encoder, head and the term's own parameters."""
    term = build_objectives([{"kind": kind, "strength": 1.0}])[kind]
    term.begin(start_of(copy.deepcopy(model), **start))
    optimiser = torch.optim.Adam([*model.parameters(), *term.parameters()], lr=0.02)
    values = []
    for _ in range(80):
        loss = term(step_of(model, examples(), None, targets=targets))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        values.append(float(loss.detach()))
    return values[0], values[-1]


def test_every_partner_counts_and_others_are_pushed_away() -> None:
    x = F.normalize(torch.tensor([[1.0, 0.0], [0.0, 1.0]]), dim=1)
    y = torch.cat([x, x])
    same = torch.eye(2, dtype=torch.bool).repeat(1, 2)
    right = float(contrast(x, y, same, temperature=0.1))
    wrong = float(contrast(x, y.flip(0), same, temperature=0.1))
    assert right == pytest.approx(torch.log(torch.tensor(2.0)).item() / 2, abs=1e-3)
    assert wrong > right + 5


def test_who_has_no_partner_has_no_loss() -> None:
    x = torch.eye(2)
    same = torch.tensor([[True, False], [False, False]])
    alone = float(contrast(x, x, same, temperature=0.5))
    assert alone == pytest.approx(float(torch.log1p(torch.exp(torch.tensor(-2.0)))), abs=1e-5)
    none = torch.zeros(2, 2, dtype=torch.bool)
    assert float(contrast(x, x, none, temperature=0.5)) == 0.0


@pytest.mark.parametrize("kind", ["cross_modal", "gloss"])
def test_descending_it_brings_classes_to_their_motions(kind: str) -> None:
    targets = torch.eye(3)[(examples()[:, :3]).argmax(1)]
    before, after = descended(toy(), kind, targets)
    assert after < 0.9 * before


def test_the_head_learns_to_name_the_motions() -> None:
    model, term = toy(), build_objectives([{"kind": "gloss", "strength": 1.0}])["gloss"]
    term.begin(start_of(copy.deepcopy(model)))
    optimiser = torch.optim.Adam([*model.head.parameters(), *term.parameters()], lr=0.05)
    for _ in range(100):
        loss = term(step_of(model, examples(), None))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    found = model.head(term.projection(term.vectors)).argmax(1)
    assert (found.numpy() == partners().classes).all()


def test_the_parts_of_pairs_are_each_other_s_partners() -> None:
    model = toy(dim=6)
    model.encoder.parts = (4, 2)
    targets = torch.full((N, 3), 1 / 3)  # nothing to read in them
    before, after = descended(model, "cross_modal", targets, partners=None)
    assert after < before - 0.5


def test_one_text_about_many_images_is_no_negative() -> None:
    model = toy(dim=6)
    model.encoder.parts = (4, 2)
    term = build_objectives([{"kind": "cross_modal", "strength": 1.0}])["cross_modal"]
    term.begin(start_of(copy.deepcopy(model), partners=None))
    with torch.no_grad():
        model.encoder.weight[4:] = 0
    value = float(term(step_of(model, examples(), None)).detach())
    assert value == pytest.approx(float(torch.log(torch.tensor(float(N)))), rel=0.2)


@pytest.mark.parametrize("kind", ["cross_modal", "gloss"])
def test_without_another_modality_it_says_so(kind: str) -> None:
    term = build_objectives([{"kind": kind, "strength": 1.0}])[kind]
    with pytest.raises(UserError, match=kind):
        term.begin(start_of(toy(), partners=None))
