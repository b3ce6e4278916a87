"""Blocks learn by contrast and nothing else moves; a head is fitted on what they give, or none."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from regraft.backbones.transformer import TransformerEncoder, embed_texts
from regraft.backbones.transformer_loading import load_transformer
from regraft.errors import UserError
from regraft.recipe.augmentation import AugmentationOptions
from regraft.tasks.classifier import Classifier
from regraft.tasks.text_views import TextViews
from regraft.training.contrast_tuning import ContrastTuning, head_after, tune_by_contrast
from tests.backbones.texts import tiny_folder

FORMS = ("what are the symptoms of {}", "what causes {} and why", "how can i treat {}")
TOPICS = ("asthma", "fever", "diabetes", "a cold", "my head", "children")
TEXTS = [form.format(topic) for topic in TOPICS for form in FORMS]
LABELS = np.tile(np.arange(3), len(TOPICS))


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> TransformerEncoder:
    folder = tiny_folder(tmp_path_factory.mktemp("texts") / "encoder")
    return load_transformer(name=str(folder), taps=0)


def tuned(encoder: TransformerEncoder, folder: Path, **how: Any) -> Classifier:
    torch.manual_seed(0)
    model = Classifier(copy.deepcopy(encoder), ["symptoms", "causes", "treatment"])
    views = TextViews(TEXTS, encoder.tokens, AugmentationOptions().model_dump(), seed=0)
    options: dict[str, Any] = {"cached_views": 1, "trunks": None, "work_dir": folder, "seed": 0}
    tune_by_contrast(model, views, LABELS, ContrastTuning(**how), **options)
    return model


def gap(encoder: TransformerEncoder) -> float:
    """Mean cosine within the classes, less that between them."""
    x = embed_texts(encoder, TEXTS)
    same = LABELS[:, None] == LABELS[None]
    return float((x @ x.T)[same].mean() - (x @ x.T)[~same].mean())


def test_classes_part_and_only_the_last_blocks_move(
    encoder: TransformerEncoder, tmp_path: Path
) -> None:
    model = tuned(encoder, tmp_path, blocks=2, learning_rate=1e-3)
    assert gap(model.encoder) > gap(encoder) + 0.1
    moved = {
        index
        for index in range(len(encoder.blocks))
        for old, new in zip(
            encoder.parameters_of(index), model.encoder.parameters_of(index), strict=True
        )
        if not torch.equal(old, new)
    }
    assert moved == {2, 3}
    torch.manual_seed(0)
    untrained = Classifier(copy.deepcopy(encoder), model.classes).head.state_dict()
    assert all(value.equal(untrained[name]) for name, value in model.head.state_dict().items())


def test_the_head_is_fitted_on_what_the_encoder_gives_now(
    encoder: TransformerEncoder, tmp_path: Path
) -> None:
    """A head of before is for an encoder that is no more."""
    x = embed_texts(tuned(encoder, tmp_path, learning_rate=1e-3).encoder, TEXTS)
    assert (head_after(x, LABELS).logits(x).argmax(1) == LABELS).all()


def test_an_encoder_that_fell_into_one_point_is_an_error() -> None:
    rng = np.random.default_rng(0)
    x = np.ones((12, 8)) + rng.normal(0, 0.01, (12, 8))
    with pytest.raises(UserError, match="fallen into one point"):
        head_after(x, np.arange(12) % 3)
