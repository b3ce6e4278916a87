"""Losses and scores of further tasks: each reads its own logits and its own labels alone."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from regraft.errors import UserError
from regraft.training.examples import Split, task_labels
from regraft.training.losses import ClassificationLoss, classification_loss
from regraft.training.probe import fit_auxiliary, fit_probe
from regraft.training.selection import multi_task_score, validation_score

ROWS = pd.DataFrame(
    {
        "label": ["a", "b", "a", "b"],
        "label:crop": ["x", None, "z", "x"],
        "label:new": [None, "u", None, None],
    }
)
CROPS = ["x", "y", "z"]
PLAIN = {"label_smoothing": 0.0, "mixup_alpha": 0.0, "class_balance": False}


def loss(weight: float = 1.0, **options: object) -> ClassificationLoss:
    tasks = {"crop": task_labels(ROWS, "crop", CROPS), "new": task_labels(ROWS, "new", ["u", "v"])}
    return classification_loss(
        Split(ROWS, np.array([0, 1, 0, 1]), 2), auxiliary=tasks, auxiliary_weight=weight,
        **(PLAIN | options),  # type: ignore[arg-type]
    )  # fmt: skip


def step(found: ClassificationLoss, chosen: list[int], logits: torch.Tensor) -> dict[str, float]:
    torch.manual_seed(0)
    indices = np.array(chosen)
    _, wanted = found.prepare([torch.zeros(len(chosen), 3, 4, 4)], indices, 0 * indices)
    return {name: float(value) for name, value in found.losses(logits, wanted).items()}


def test_a_label_that_is_not_there_is_unknown() -> None:
    assert task_labels(ROWS, "crop", ["x", "y"]).labels.tolist() == [0, -1, -1, 0]


def test_each_loss_is_the_mean_over_its_labelled_examples() -> None:
    logits = torch.zeros(4, 7)
    found = step(loss(weight=0.5), [0, 1, 2, 3], logits)
    assert found == pytest.approx(
        {"label": np.log(2), "label:crop": 0.5 * np.log(3), "label:new": 0.5 * np.log(2)}
    )
    assert step(loss(), [0, 2, 3], logits[:3])["label:new"] == 0


def test_each_task_moves_its_own_logits_and_unlabelled_examples_move_none() -> None:
    found = loss()
    logits = torch.zeros(4, 7, requires_grad=True)
    _, wanted = found.prepare([torch.zeros(4, 3, 4, 4)], np.arange(4), np.zeros(4, dtype=int))
    found.losses(logits, wanted)["label:crop"].backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    moved = logits.grad != 0
    assert moved[[0, 2, 3], 2:5].all()
    assert not moved[1].any() and not moved[:, :2].any() and not moved[:, 5:].any()


def test_smoothing_mixing_and_balance_reach_every_task() -> None:
    logits = torch.randn(4, 7, generator=torch.Generator().manual_seed(0))
    plain = step(loss(), [0, 1, 2, 3], logits)
    for options in ({"label_smoothing": 0.2}, {"mixup_alpha": 0.5}, {"class_balance": True}):
        found = step(loss(**options), [0, 1, 2, 3], logits)
        assert found["label:crop"] != plain["label:crop"]


def test_mixed_examples_share_the_partner_of_the_label() -> None:
    found = loss(mixup_alpha=0.5)
    torch.manual_seed(0)
    x = torch.eye(4)[:, :, None, None]
    (mixed,), wanted = found.prepare([x], np.arange(4), np.zeros(4, dtype=int))
    shares = mixed[:, :, 0, 0]
    crops = torch.tensor([[1.0, 0, 0], [0, 0, 0], [0, 0, 1], [1, 0, 0]])
    torch.testing.assert_close(wanted["label:crop"], shares @ crops)


def test_the_epoch_is_chosen_by_the_sum() -> None:
    crop = task_labels(ROWS, "crop", CROPS)
    new = task_labels(ROWS.assign(**{"label:new": None}), "new", ["u", "v"])
    labels = np.array([0, 1, 0, 1])
    score = multi_task_score(
        validation_score(labels), {"crop": (slice(2, 5), crop), "new": (slice(5, 7), new)},
        n_classes=2, weight=0.5,
    )  # fmt: skip
    logits = np.random.default_rng(0).normal(size=(4, 7))
    alone = validation_score(labels)(logits[:, :2])
    of_crop = validation_score(np.array([0, 2, 0]))(logits[[0, 2, 3], 2:5])
    found = score(logits)
    assert found["val_loss"] == pytest.approx(alone["val_loss"] + 0.5 * of_crop["val_loss"])
    errors = alone["val_loss_error"] + 0.5 * of_crop["val_loss_error"]
    assert found["val_loss_error"] == pytest.approx(errors)
    assert found["val_accuracy"] == alone["val_accuracy"]
    assert found["val_accuracy:crop"] == of_crop["val_accuracy"]
    assert "val_accuracy:new" not in found


def sample() -> tuple[pd.DataFrame, np.ndarray]:
    rng = np.random.default_rng(0)
    rows = pd.DataFrame({"label": list("ab") * 20, "split": "train"})
    rows["group"] = [str(i) for i in range(40)]
    rows["label:half"] = ["left"] * 20 + ["right"] * 20
    rows.loc[::5, "label:half"] = None
    x = rng.normal(size=(40, 8))
    x[:20, 0] += 4
    return rows, x / np.linalg.norm(x, axis=1, keepdims=True)


def test_a_probe_per_task_on_what_is_labelled() -> None:
    rows, x = sample()
    augmented = np.repeat(x[:, None], 2, axis=1)
    found = fit_auxiliary(rows, x, seed=0, augmented=augmented)["half"]
    known = rows["label:half"].notna().to_numpy()
    assert found.classes == ["left", "right"]
    assert found.head.cv_accuracy is not None and found.head.cv_accuracy > 0.9
    own = rows[known].assign(label=rows.loc[known, "label:half"])
    expected = fit_probe(own, x[known], seed=0, augmented=augmented[known])
    np.testing.assert_array_equal(found.head.arrays()["weight"], expected.head.arrays()["weight"])
    assert fit_auxiliary(rows.drop(columns="label:half"), x, seed=0) == {}


@pytest.mark.parametrize("left", [[], ["left"]])
def test_a_task_with_one_label_in_training_is_refused(left: list[str]) -> None:
    rows, x = sample()
    rows["label:half"] = rows["label:half"].where(rows["label:half"].isin(left), None)
    with pytest.raises(UserError, match="fewer than two labels of the task half"):
        fit_auxiliary(rows, x, seed=0)
