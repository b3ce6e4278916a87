"""Spoken words: audio encoder -> linear head for the word, and a bridge to a motion decoder."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from regraft.backbones.audio_encoder import AudioEncoder, embed_words, load_audio_encoder
from regraft.backbones.audio_networks import shortened
from regraft.data.audio import open_audio
from regraft.errors import UserError
from regraft.tasks.audio_views import AudioViews
from regraft.tasks.classifier import Classifier
from regraft.tasks.classifier_files import load_classifier, save_classifier, with_class
from regraft.tasks.signer import Signer
from regraft.tasks.speech_predictor import SpeechPredictor
from regraft.tasks.views import logits_of_views, one_view

__all__ = ["load_model", "logits_of_views", "with_class"]
load_model = load_classifier


def pretrained_encoder(backbone: dict[str, Any], *, taps: int) -> AudioEncoder:
    """The encoder that the recipe's backbone section names, with its weights.

    Raises UserError for what only other encoders have.
    """
    foreign = [
        name
        for name in ("factory", "image_size", "max_tokens", "drop_path", "dropout", "model_args")
        if backbone.get(name)
    ]
    if foreign:
        raise UserError(
            "an encoder of speech has no such option",
            where=", ".join(f"backbone.{name}" for name in foreign),
            got=", ".join(str(backbone[name]) for name in foreign),
        )
    return load_audio_encoder(backbone["name"], weights=backbone["weights"], taps=taps)


def student_encoder(teacher: AudioEncoder, options: dict[str, Any]) -> AudioEncoder:
    """The student's encoder before it learns: the teacher's without its last blocks, or another
    one. `options` are the recipe's student section; of `layers` blocks, 0 takes all but two."""
    taps = teacher.spec.taps
    if options["name"] != "teacher":
        return pretrained_encoder(options, taps=taps)
    layers = options["layers"] or max(len(teacher.blocks) - 2, 1)
    if not 1 <= layers <= len(teacher.blocks):
        raise UserError(
            "the encoder cannot have so many blocks",
            where="distillation.student.layers",
            got=str(layers),
            expected=f"1 to {len(teacher.blocks)}",
        )
    model, config = shortened(copy.deepcopy(teacher.model), teacher.spec.config, layers)
    return AudioEncoder(replace(teacher.spec, config=config), model).eval()


def new_model(
    encoder: AudioEncoder,
    classes: list[str],
    *,
    test_views: int,
    auxiliary: dict[str, list[str]] | None = None,
) -> Classifier:
    """A classifier with an untrained head, for the tasks in `auxiliary` too.

    Raises UserError for more than one test view: a recording is not mirrored.
    """
    one_view(test_views, "a recording")
    return Classifier(encoder, classes, auxiliary=auxiliary)


def save(model: Classifier, folder: Path) -> None:
    """Write model.safetensors and model.json."""
    save_classifier(model, folder, task="speech_to_sign")


def embeddings_and_logits(model: Classifier, files: list[Path]) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings (n, dim) and logits (n, classes) of recordings."""
    rows, embeddings = SpeechPredictor(model).rows_and_embeddings(files)
    return embeddings, rows[:, : len(model.classes)]


def embed(
    encoder: AudioEncoder, rows: pd.DataFrame, *, views: int
) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings (n, dim) of recordings as they are, twice: a recording has one view."""
    one_view(views, "a recording")
    found = embed_words(encoder, [open_audio(path) for path in rows["path"]])
    return found, found


def training_views(
    encoder: AudioEncoder, rows: pd.DataFrame, augmentation: dict[str, Any], *, seed: int
) -> AudioViews:
    """The views of these rows that a model with this encoder is trained on."""
    return AudioViews(rows["path"].tolist(), augmentation, seed=seed)


def embeddings_of_views(encoder: AudioEncoder, views: AudioViews, numbers: list[int]) -> np.ndarray:
    """Embeddings (n, len(numbers), dim) of these training views of every example."""
    words = [views.word(index, view) for index in range(len(views)) for view in numbers]
    return embed_words(encoder, words).reshape(len(views), len(numbers), -1)


def open_example(path: str) -> str:
    """What a report shows of an example: what the file is called."""
    return Path(path).name


def predictor(model: Classifier) -> SpeechPredictor:
    """The model as it is, ready to answer."""
    return SpeechPredictor(model)


def load(folder: Path) -> SpeechPredictor:
    """The predictor of a saved model, with its signer where it has one."""
    return SpeechPredictor(load_classifier(folder), Signer.load(folder))
