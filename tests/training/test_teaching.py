"""What a student is taught and judged by where labels are missing."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from regraft.training.losses import DistillationLoss, distillation_loss
from regraft.training.selection import validation_score
from tests.training.support import split

RNG = np.random.default_rng(0)
ANSWERS = RNG.normal(size=(6, 2, 2)).astype(np.float32)


def loss(label_weight: float) -> DistillationLoss:
    """Four labelled examples, two that only the teacher knows."""
    return distillation_loss(split(4), ANSWERS, temperature=2.0, label_weight=label_weight)


def gradient(of: DistillationLoss, indices: list[int]) -> torch.Tensor:
    logits = torch.zeros(len(indices), 2, requires_grad=True)
    chosen = np.array(indices)
    _, wanted = of.prepare([torch.zeros(len(indices), 1)], chosen, 0 * chosen)
    of.losses(logits, wanted)["label"].backward()
    assert logits.grad is not None
    return logits.grad


def test_only_the_teacher_counts_where_there_is_no_label() -> None:
    assert not gradient(loss(label_weight=1.0), [4, 5]).any()
    answers_alone, both = gradient(loss(0.0), [4, 5]), gradient(loss(0.5), [4, 5])
    assert answers_alone.any()
    assert torch.allclose(both, answers_alone / 2)


def test_labels_count_where_there_are_some() -> None:
    expected = (torch.full((2, 2), 0.5) - torch.eye(2)) / 2
    assert torch.allclose(gradient(loss(label_weight=1.0), [0, 1]), expected)


def test_the_teacher_s_choice_stands_in_for_a_label() -> None:
    expected = [*split(4).labels, *ANSWERS[4:, 0].argmax(1)]
    assert loss(0.5).labels.tolist() == expected


def test_without_unlabelled_examples_the_score_is_that_of_the_labels() -> None:
    logits, labels = RNG.normal(size=(5, 2)), np.array([0, 1, 0, 1, 1])
    found = validation_score(labels, np.zeros((0, 2)))(logits)
    assert found == validation_score(labels)(logits)


def test_unlabelled_examples_are_judged_by_agreement_with_the_teacher() -> None:
    labels, answers = np.array([0, 1]), np.array([[0.9, 0.1], [0.2, 0.8]])
    agreeing = np.log(np.concatenate([np.eye(2)[labels] * 0.98 + 0.01, answers]))
    score = validation_score(labels, answers)
    against = agreeing.copy()
    against[2:] = against[2:, ::-1]
    assert score(agreeing)["val_accuracy"] == 1.0
    assert score(against)["val_accuracy"] == 0.5
    assert score(agreeing)["val_loss"] < score(against)["val_loss"]


def test_the_score_of_labels_is_the_log_likelihood_at_the_best_temperature() -> None:
    logits, labels = np.array([[2.0, 0.0], [0.0, 2.0], [1.0, 0.0]]), np.array([0, 1, 1])
    found = validation_score(labels)(logits)
    temperatures = np.geomspace(0.1, 10.0, 25)
    log_p = [np.log(np.exp(logits / t) / np.exp(logits / t).sum(1, keepdims=True))
             for t in temperatures]  # fmt: skip
    own = min((-one[np.arange(3), labels] for one in log_p), key=np.mean)
    assert found["val_loss"] == pytest.approx(own.mean())
    assert found["val_loss_error"] == pytest.approx(own.std(ddof=1) / 3**0.5)


def test_one_validation_example_is_all_error() -> None:
    found = validation_score(np.array([0]))(np.array([[2.0, 0.0]]))
    assert found["val_loss_error"] == found["val_loss"]
