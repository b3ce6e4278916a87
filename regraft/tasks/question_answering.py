"""Questions: encoder -> linear head for what is asked (the intent), and answers from passages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from regraft.backbones.transformer import TransformerEncoder, embed_texts, with_layers
from regraft.backbones.transformer_loading import load_transformer
from regraft.errors import UserError
from regraft.tasks.classifier import Classifier
from regraft.tasks.classifier_files import load_classifier, save_classifier, with_class
from regraft.tasks.text_predictor import TextPredictor, decode
from regraft.tasks.text_views import TextViews
from regraft.tasks.views import logits_of_views, one_view

__all__ = ["load_model", "logits_of_views", "with_class"]
load_model = load_classifier


def pretrained_encoder(backbone: dict[str, Any], *, taps: int) -> TransformerEncoder:
    """The encoder that the recipe's backbone section names, with its weights."""
    return load_transformer(**backbone, taps=taps)


def student_encoder(teacher: TransformerEncoder, options: dict[str, Any]) -> TransformerEncoder:
    """The student's encoder before it learns. Named `teacher` it has some of the teacher's layers
    (Sanh et al., "DistilBERT", 2019, section 3); any other begins with its own pre-trained weights.
    `options` are the recipe's student section."""
    options = dict(options)
    layers = options.pop("layers")
    if options["name"] != "teacher":
        own = load_transformer(**options, taps=teacher.spec.taps)
        return with_layers(own, layers) if layers else own
    if options["image_size"]:
        raise UserError(
            "a text has no image size",
            where="distillation.student.image_size",
            got=str(options["image_size"]),
            fix="distillation.student.layers makes a student of texts cheaper",
        )
    return with_layers(teacher, layers or max((len(teacher.blocks) - 1) // 2, 1))


def new_model(
    encoder: TransformerEncoder,
    classes: list[str],
    *,
    test_views: int,
    auxiliary: dict[str, list[str]] | None = None,
) -> Classifier:
    """A classifier with an untrained head, for the tasks in `auxiliary` too.

    Raises UserError for more than one test view: a text is not mirrored.
    """
    one_view(test_views, "a text")
    return Classifier(encoder, classes, auxiliary=auxiliary)


def save(model: Classifier, folder: Path) -> None:
    """Write model.safetensors, model.json and tokenizer.json."""
    save_classifier(model, folder, task="question_answering")


def embeddings_and_logits(model: Classifier, files: list[Path]) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings (n, dim) and logits (n, classes) of text files."""
    rows, embeddings = TextPredictor(model).rows_and_embeddings(files)
    return embeddings, rows[:, : len(model.classes)]


def embed(
    encoder: TransformerEncoder, rows: pd.DataFrame, *, views: int
) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings (n, dim) of texts as they are, twice: a text has one view."""
    one_view(views, "a text")
    found = embed_texts(encoder, rows["text"].tolist())
    return found, found


def training_views(
    encoder: TransformerEncoder, rows: pd.DataFrame, augmentation: dict[str, Any], *, seed: int
) -> TextViews:
    """The views of these rows that a model with this encoder is trained on."""
    topics = rows["topic"].fillna("").tolist() if "topic" in rows else []
    return TextViews(rows["text"].tolist(), encoder.tokens, augmentation, seed=seed, topics=topics)


def embeddings_of_views(
    encoder: TransformerEncoder, views: TextViews, numbers: list[int]
) -> np.ndarray:
    """Embeddings (n, len(numbers), dim) of these training views of every example."""
    texts = [views.text(index, view) for index in range(len(views)) for view in numbers]
    return embed_texts(encoder, texts).reshape(len(views), len(numbers), -1)


def domain_texts(
    encoder: TransformerEncoder, rows: pd.DataFrame
) -> tuple[TransformerEncoder, list[str], list[str]]:
    """The encoder of texts, the questions and answers of these rows, and the group of each."""
    columns = [rows[name].fillna("") for name in ("text", "answer") if name in rows]
    texts = pd.concat(columns, ignore_index=True)
    groups = pd.concat([rows["group"]] * len(columns), ignore_index=True)
    return encoder, texts[texts != ""].tolist(), groups[texts != ""].tolist()


def open_example(path: str) -> str:
    """What a report shows of an example."""
    return decode(path)


def predictor(model: Classifier) -> TextPredictor:
    """The model as it is, ready to answer."""
    return TextPredictor(model)


def load(folder: Path) -> TextPredictor:
    """The predictor of a saved model, with its assistant where it has one."""
    from regraft.tasks.assistant.assistant import Assistant

    assistant = Assistant.load(folder) if (folder / "assistant.json").is_file() else None
    return TextPredictor(load_classifier(folder), assistant)
