"""Replay: fair choice, the loss of the paper, and less forgetting."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import torch
from scipy.stats import chisquare
from torch import nn
from torch.nn.functional import cross_entropy

from regraft.recipe.batches import ReplayOptions
from regraft.transfer.batches.replay import (
    Memory,
    choose,
    class_balanced,
    memory_loss,
    reservoir,
)


def test_a_reservoir_keeps_every_element_equally_often() -> None:
    rng = np.random.default_rng(0)
    times = np.zeros(40)
    for _ in range(3000):
        times[reservoir(iter(range(40)), 8, rng)] += 1
    assert chisquare(times).pvalue > 1e-4
    assert times.sum() == 3000 * 8


@pytest.mark.parametrize(("length", "size"), [(5, 8), (8, 8), (0, 3), (4, 0)])
def test_a_reservoir_larger_than_the_stream_keeps_all(length: int, size: int) -> None:
    kept = reservoir(range(length), size, np.random.default_rng(0))
    assert sorted(kept.tolist()) == list(range(min(length, size)))


def test_class_balanced_gives_every_class_the_same_and_the_rest_to_the_large() -> None:
    labels = np.array([0] * 50 + [1] * 20 + [2] * 2)
    kept = class_balanced(labels, 20, np.random.default_rng(0))
    assert len(set(kept.tolist())) == 20
    assert np.bincount(labels[kept]).tolist() == [9, 9, 2]


def test_class_balanced_draws_within_the_class() -> None:
    labels = np.array([0] * 50 + [1] * 20)
    kept = [class_balanced(labels, 6, np.random.default_rng(seed)).tolist() for seed in (1, 1, 2)]
    assert kept[0] == kept[1] != kept[2]
    assert len(class_balanced(labels, 500, np.random.default_rng(0))) == 70


def test_every_choice_of_the_recipe_works_and_differs() -> None:
    labels = np.array([0] * 60 + [1] * 4)
    choices = get_args(ReplayOptions.model_fields["choice"].annotation)
    shares = {
        choice: np.bincount(labels[choose(labels, 8, choice, np.random.default_rng(0))])
        for choice in choices
    }
    assert shares["class_balanced"].tolist() == [4, 4]
    assert shares["reservoir"][0] >= 6


def memory(n: int = 10) -> Memory:
    logits = torch.arange(float(n))[:, None].repeat(1, 3)
    return Memory(np.arange(100, 100 + n), logits, torch.eye(3)[np.arange(n) % 3])


def test_a_draw_keeps_example_logits_and_target_together() -> None:
    indices, logits, targets = memory().draw(np.random.default_rng(0), 4)
    assert len(set(indices.tolist())) == 4
    assert logits[:, 0].tolist() == (indices - 100).tolist()
    assert targets.argmax(1).tolist() == ((indices - 100) % 3).tolist()


def test_a_draw_of_more_than_there_are_is_all() -> None:
    indices, _, _ = memory(3).draw(np.random.default_rng(0), 16)
    assert sorted(indices.tolist()) == [100, 101, 102]


def test_the_loss_by_hand() -> None:
    logits, stored = torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.tensor([[0.0, 0.0], [0.0, 4.0]])
    targets = torch.eye(2)
    found = memory_loss(logits, stored, targets, alpha=0.5, beta=2.0)
    squares = (1 + 4) / 4
    assert found.item() == pytest.approx(
        0.5 * squares + 2 * cross_entropy(logits, torch.tensor([0, 1])).item()
    )


def test_classes_that_the_old_model_did_not_know_are_not_held() -> None:
    stored = torch.tensor([[1.0, torch.nan], [3.0, torch.nan]])
    logits = torch.tensor([[1.0, 9.0], [1.0, -9.0]], requires_grad=True)
    found = memory_loss(logits, stored, torch.eye(2), alpha=1.0, beta=0.0)
    found.backward()
    assert found.item() == pytest.approx(2.0)
    assert logits.grad is not None and logits.grad[:, 1].tolist() == [0.0, 0.0]


def test_replay_keeps_what_training_without_it_forgets() -> None:
    """A linear model that knows one direction is trained on another that contradicts it."""
    torch.manual_seed(0)
    old, new = torch.randn(64, 4) + 1, torch.randn(64, 4) - 1
    old_labels, new_labels = (old[:, 0] > 1).long(), (new[:, 0] < -1).long()

    def old_accuracy(weight: float) -> float:
        torch.manual_seed(1)
        model = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 2))
        optimiser = torch.optim.Adam(model.parameters(), 0.02)
        for _ in range(150):
            optimiser.zero_grad()
            cross_entropy(model(old), old_labels).backward()
            optimiser.step()
        kept = Memory(np.arange(64), model(old).detach(), torch.eye(2)[old_labels])
        rng = np.random.default_rng(0)
        for _ in range(150):
            optimiser.zero_grad()
            chosen, logits, targets = kept.draw(rng, 16)
            replayed = memory_loss(model(old[chosen]), logits, targets, alpha=0.5, beta=0.5)
            (cross_entropy(model(new), new_labels) + weight * replayed).backward()
            optimiser.step()
        return (model(old).argmax(1) == old_labels).float().mean().item()

    assert old_accuracy(1.0) > old_accuracy(0.0) + 0.1
