"""A classifier with further tasks answers the main label as before, and the others beside it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from regraft.errors import UserError
from regraft.tasks import image_classification as task
from tests.training.support import classifier

TASKS = {"crop": ["apple", "bean", "tomato"], "ripe": ["no", "yes"]}
PHOTO = Image.linear_gradient("L").resize((80, 80)).convert("RGB")


def model() -> task.Classifier:
    """Weights that say apart which rows are whose: every task answers with its last class."""
    found = task.Classifier(classifier().encoder, ["a", "b"], auxiliary=TASKS).eval()
    found.set_head(np.zeros((2, found.encoder.dim)), np.array([0.0, 1.0]))
    found.set_auxiliary_head(np.zeros((5, found.encoder.dim)), np.array([0, 0, 2.0, 0, 4.0]))
    return found


def test_the_main_answer_has_the_main_classes_alone() -> None:
    one, x = model(), torch.randn(2, 3, 64, 64)
    predictor = task.predictor(one)
    assert one(x).shape == one.averaged_logits(x).shape == (2, 2)
    assert predictor.logits([PHOTO]).shape == predictor.probabilities([PHOTO]).shape == (1, 2)
    assert one.head(one.encoder(x)).shape == predictor.rows([PHOTO, PHOTO]).shape == (2, 7)
    assert predictor.predict([]) == []


def test_every_task_is_answered() -> None:
    one = model()
    one.auxiliary_temperatures["ripe"] = 2.0
    (answer,) = task.predictor(one).predict([PHOTO])  # type: ignore[list-item]
    assert answer["label"] == "b" and set(answer["probabilities"]) == {"a", "b"}
    assert answer["tasks"]["crop"] == {
        "label": "tomato",
        "confidence": pytest.approx(np.exp(2) / (2 + np.exp(2)), abs=1e-5),
    }
    assert answer["tasks"]["ripe"]["confidence"] == pytest.approx(1 / (1 + np.exp(-2)), abs=1e-5)


def test_without_tasks_the_answer_has_no_word_of_them() -> None:
    assert "tasks" not in task.predictor(classifier().eval()).predict([PHOTO])[0]  # type: ignore[list-item]


def test_a_saved_model_answers_alike_and_an_older_one_is_read(tmp_path: Path) -> None:
    one = model()
    one.auxiliary_temperatures["crop"] = 3.0
    task.save(one, tmp_path)
    again = task.load(tmp_path)
    assert again.predict([PHOTO]) == task.predictor(one).predict([PHOTO])  # type: ignore[list-item]
    task.save(classifier(), tmp_path)
    card = json.loads((tmp_path / "model.json").read_text())
    assert card.pop("auxiliary") == card.pop("auxiliary_temperatures") == {}
    (tmp_path / "model.json").write_text(json.dumps(card))
    assert task.load_model(tmp_path).auxiliary == {}


def test_each_part_of_the_head_is_set_on_its_own() -> None:
    one = model()
    before = one.head.state_dict()["weight"].clone()
    one.set_head(np.ones((2, one.encoder.dim)), np.ones(2))
    after = one.head.state_dict()["weight"]
    assert torch.equal(after[2:], before[2:])
    assert (after[:2] == 1).all()
    one.set_auxiliary_head(np.full((5, one.encoder.dim), 3), np.ones(5))
    after = one.head.state_dict()["weight"]
    assert (after[:2] == 1).all() and (after[2:] == 3).all()


def test_a_class_added_moves_no_task() -> None:
    one = model()
    grown = task.with_class(one, "c", np.zeros(one.encoder.dim), 9.0)
    (answer,) = task.predictor(grown).predict([PHOTO])  # type: ignore[list-item]
    (before,) = task.predictor(one).predict([PHOTO])  # type: ignore[list-item]
    assert answer["label"] == "c"
    assert answer["tasks"] == before["tasks"]


def test_a_cache_model_is_refused() -> None:
    one = model()
    with pytest.raises(UserError, match="cache model"):
        one.set_head(np.zeros((2, one.encoder.dim)), np.zeros(2), keys=np.zeros((1, 1)))
