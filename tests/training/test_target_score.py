"""Where a term of the loss reads an unlabelled target, the target chooses the epoch."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from regraft.evaluation.label_free import information_maximisation
from regraft.training.inputs import ImageInputs
from regraft.training.loop import served_logits
from regraft.training.ports import Ports
from regraft.training.selection import TargetScore
from tests.training.support import Halves, classifier
from tests.training.test_progressive import last_blocks, train

TARGET = Halves(16, seed=2)
ENTROPY = {"kind": "entropy", "strength": 1.0, "diversity": 1.0}


def rising() -> Any:
    """A score that finds every model better than the one before."""
    numbers = itertools.count()
    return lambda features, probabilities: float(next(numbers))


def chosen(folder: Path, score: Any, *, drop: float = 1.0, strength: float = 1.0) -> dict[str, Any]:
    model = classifier()
    history = train(
        model,
        [last_blocks(model, 2), last_blocks(model, 4)],
        folder,
        data={"unlabelled": TARGET, "target": TARGET},
        target_score=TargetScore(score, 2, drop),
        ports=Ports(objectives=[ENTROPY | {"strength": strength}]),
    )
    found: dict[str, Any] = history["chosen"]
    return found


def test_the_epoch_that_the_target_likes_best_is_kept(tmp_path: Path) -> None:
    assert chosen(tmp_path, rising()) == {"stage": "last 4", "epoch": 3, "by": "target_score"}


def test_training_that_the_target_does_not_like_changes_nothing(tmp_path: Path) -> None:
    falling = itertools.count()
    found = chosen(tmp_path, lambda features, probabilities: -float(next(falling)))
    assert found["stage"] == "probe"


def test_what_forgets_more_of_the_source_than_allowed_is_out(tmp_path: Path) -> None:
    """A drop of less than nothing: every epoch would have to gain two whole accuracies."""
    assert chosen(tmp_path, rising(), drop=-2.0)["stage"] == "probe"


def test_without_such_a_term_validation_chooses(tmp_path: Path) -> None:
    assert chosen(tmp_path, rising(), strength=0.0)["by"] == "val_loss"


@pytest.mark.parametrize("scale", [0.1, 10.0])
def test_being_surer_of_everything_wins_nothing(scale: float) -> None:
    rng = np.random.default_rng(0)
    target, source = rng.normal(size=(40, 3)), 3 * rng.normal(size=(30, 3))
    score = TargetScore(information_maximisation, 3, 0.015)
    assert score(scale * target, scale * source) == pytest.approx(score(target, source))
    assert score(2 * target, source) > score(target, source)


def test_further_tasks_do_not_count() -> None:
    rng = np.random.default_rng(0)
    logits, source = rng.normal(size=(40, 5)), rng.normal(size=(30, 5))
    score = TargetScore(information_maximisation, 3, 0.015)
    assert score(logits, source) == score(logits[:, :3], source[:, :3])


def test_answers_to_all_served_views_are_averaged() -> None:
    model = classifier()
    whole = served_logits(model, ImageInputs(TARGET, n_views=2))
    with torch.inference_mode():
        each = [
            model.head(model.encoder(TARGET.batch(np.arange(16), np.full(16, view))))
            for view in (0, 1)
        ]
    np.testing.assert_allclose(whole, torch.stack(each).mean(0), atol=1e-5)
