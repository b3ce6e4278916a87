"""Test-time adaptation at serving: who answers, and what the monitors go on seeing."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import torch
from PIL import Image

from regraft.backbones.encoder import Encoder
from regraft.backbones.loading import load_pretrained
from regraft.errors import UserError
from regraft.recipe.serving import ServingOptions
from regraft.serving.adapting import AdaptingPredictor, adapting
from regraft.serving.loaded import LoadedModel
from regraft.tasks.classifier import Classifier
from regraft.tasks.image_predictor import ImagePredictor
from regraft.transfer.test_time import KINDS


def predictor(name: str = "test_efficientnet") -> ImagePredictor:
    torch.manual_seed(0)
    encoder = Encoder(*load_pretrained(name, weights="random"))
    return ImagePredictor(Classifier(encoder, ["a", "b"]).eval())


def greens(count: int) -> list[Image.Image]:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 255, (count, 64, 64, 3), dtype=np.uint8) // (8, 1, 8)
    return [Image.fromarray(one.astype(np.uint8)) for one in pixels]


@pytest.mark.parametrize("kind", ["batch_statistics", "tent"])
def test_answers_follow_the_inputs_and_embeddings_do_not(kind: str) -> None:
    registered, inputs = predictor(), greens(16)
    before, embeddings = registered.answer(inputs)
    model = adapting(LoadedModel("m", "1", registered), kind, 16).predictor
    assert model.answer(inputs[:7])[0] == before[:7], "too early: half of 16 are not there yet"
    model.answer(inputs[7:])
    model.wait()
    assert model.adaptations == 1
    after, same = model.answer(inputs)
    moved = [abs(x["confidence"] - y["confidence"]) for x, y in zip(after, before, strict=True)]
    assert max(moved) > 1e-4
    assert np.array_equal(same, embeddings)
    assert registered.answer(inputs)[0] == before, "the registered model was changed"


def test_the_recipe_knows_every_kind() -> None:
    assert get_args(ServingOptions.model_fields["test_time"].annotation) == ("", *KINDS)


def test_a_network_without_batch_norm_is_refused_before_it_serves() -> None:
    with pytest.raises(UserError, match="no batch norm"):
        adapting(LoadedModel("m", "1", predictor("test_vit")), "tent", 16)


def test_an_adaptation_that_fails_leaves_the_registered_model_answering(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr("regraft.transfer.test_time.adapt", fails)
    registered, inputs = predictor(), greens(16)
    model = AdaptingPredictor(registered, "tent", 16)
    for _ in range(2):
        assert model.answer(inputs)[0] == registered.answer(inputs)[0]
        model.wait()
    assert model.adaptations == 0
    assert capsys.readouterr().err.count("out of memory") == 1
