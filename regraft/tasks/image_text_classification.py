"""Pairs of image and text: two encoders -> fusion -> classes. Visual questions over a closed set of
answers are the usual case; a caption or report with a class is the same."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import torch
from PIL.Image import Image

from regraft.backbones.blockwise import BlockwiseEncoder
from regraft.backbones.encoder import Encoder
from regraft.backbones.folding import folded
from regraft.backbones.loading import load_pretrained
from regraft.backbones.pair_encoder import PairEncoder
from regraft.backbones.transformer import TransformerEncoder, with_layers
from regraft.backbones.transformer_loading import EMBEDDED, load_transformer
from regraft.data.images import open_rgb
from regraft.errors import UserError
from regraft.progress import track
from regraft.tasks.classifier import Classifier
from regraft.tasks.classifier_files import load_classifier, save_classifier, with_class
from regraft.tasks.image_classification import student_encoder as student_of_photos
from regraft.tasks.pair_classifier import PairClassifier
from regraft.tasks.pair_predictor import PairPredictor
from regraft.tasks.pair_views import PairViews, read_pair
from regraft.tasks.views import logits_of_views, one_view, over_views

_BATCH = 16
_WHY = "left and right may be what is asked"

__all__ = ["load_model", "logits_of_views", "with_class"]
load_model = partial(load_classifier, kind=PairClassifier)


def pretrained_encoder(backbone: dict[str, Any], *, taps: int) -> PairEncoder:
    """Both encoders that the recipe's backbone section names, with their weights."""
    of_image = dict(backbone)
    text, locked = dict(of_image.pop("text")), of_image.pop("locked")
    image = Encoder(*load_pretrained(**of_image, taps=taps)).eval()
    text["name"] = text["name"] or EMBEDDED
    return PairEncoder(image, load_transformer(**text), locked=locked)


def student_encoder(teacher: PairEncoder, options: dict[str, Any]) -> PairEncoder:
    """The image encoder that a student of photos has, beside some of the layers of the teacher's
    text encoder. `options` are the recipe's student section."""
    options = dict(options)
    layers, text, locked = (options.pop(name) for name in ("layers", "text", "locked"))
    if any(text.values()):
        raise UserError(
            "a student of pairs reads with the teacher's text encoder",
            where="distillation.student.text",
            fix="leave it out; distillation.student.layers makes it cheaper",
        )
    image = student_of_photos(teacher.image, options | {"layers": 0}).eval()
    count = layers or max((len(teacher.text.blocks) - 1) // 2, 1)
    taps = min(teacher.text.spec.taps, count - 1)
    return PairEncoder(image, with_layers(teacher.text, count, taps=taps), locked=locked)


def new_model(
    encoder: BlockwiseEncoder,
    classes: list[str],
    *,
    test_views: int,
    auxiliary: dict[str, list[str]] | None = None,
) -> PairClassifier:
    """A classifier with an untrained head, for the tasks in `auxiliary` too.

    Raises UserError for more than one test view.
    """
    one_view(test_views, "a pair", why=_WHY)
    return PairClassifier(encoder, classes, auxiliary=auxiliary)


def save(model: Classifier, folder: Path) -> None:
    """Write model.safetensors, model.json and tokenizer.json."""
    save_classifier(model, folder, task="image_text_classification")


def embeddings_and_logits(model: Classifier, files: list[Path]) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings (n, dim) and logits (n, classes) of files of pairs."""
    rows, embeddings = PairPredictor(model).rows_and_embeddings(files)
    return embeddings, rows[:, : len(model.classes)]


@torch.inference_mode()
def embed(encoder: PairEncoder, rows: pd.DataFrame, *, views: int) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings (n, dim) of pairs as they are, twice: a pair has one view. Local features follow
    where the encoder reads them. An image, or a text, that several pairs share goes through its
    network once."""
    one_view(views, "a pair", why=_WHY)
    encoder = cast(PairEncoder, folded(encoder))
    pairs = [read_pair(path) for path in rows["path"]]
    _, first, images = np.unique(
        [pair.image_digest for pair in pairs], return_index=True, return_inverse=True
    )
    texts = [pair.text or "" for pair in pairs]
    found = _rows(encoder, [pairs[i].image or b"" for i in first], images, texts)
    return found, found


@torch.inference_mode()
def embed_table(encoder: PairEncoder, pairs: pd.DataFrame) -> np.ndarray:
    """Embeddings (n, dim), and local features where the encoder reads them, of a table with the
    columns `path`, of an image, and `text` (`data.pairs.read_pairs`)."""
    encoder = cast(PairEncoder, folded(encoder))
    paths, images = np.unique(pairs["path"].to_numpy(str), return_inverse=True)
    return _rows(encoder, [Path(path) for path in paths], images, pairs["text"].tolist())


def _rows(
    encoder: PairEncoder, images: Sequence[Path | bytes], which: np.ndarray, texts: list[str]
) -> np.ndarray:
    """Of pairs (n,) of image number `which` and text; each goes through its network once."""
    found = []
    starts = range(0, len(images), _BATCH)
    for start in track(starts, "features", total=len(starts)):
        opened = [open_rgb(image) for image in images[start : start + _BATCH]]
        x = encoder.image.spec.preprocessing.tensor(opened).to(encoder.device)
        found.append(encoder.of_images(x).cpu())
    said, turns = np.unique(texts, return_inverse=True)
    joined = encoder.joined(torch.cat(found)[which], encoder.of_texts(said.tolist())[turns])
    return np.asarray(joined.numpy())


def training_views(
    encoder: PairEncoder, rows: pd.DataFrame, augmentation: dict[str, Any], *, seed: int
) -> PairViews:
    """The views of these rows that a model with this encoder is trained on."""
    return PairViews(
        rows["path"].tolist(), encoder, augmentation, seed=seed, contents=rows["sha256"].tolist()
    )


def embeddings_of_views(
    encoder: BlockwiseEncoder, views: PairViews, numbers: list[int]
) -> np.ndarray:
    """Embeddings (n, len(numbers), dim) of these training views of every example."""
    return over_views(folded(encoder), views, numbers, encoder.device, "augmented views")


def domain_texts(
    encoder: PairEncoder, rows: pd.DataFrame
) -> tuple[TransformerEncoder, list[str], list[str]]:
    """The encoder of texts, the texts of these pairs, and the group of each."""
    texts = [read_pair(path).text or "" for path in rows["path"]]
    found = [(text, group) for text, group in zip(texts, rows["group"], strict=True) if text]
    return encoder.text, [text for text, _ in found], [group for _, group in found]


def open_example(path: str) -> tuple[Image, str]:
    """What a report shows of an example."""
    pair = read_pair(path)
    return open_rgb(pair.image or b""), pair.text or ""


def predictor(model: Classifier) -> PairPredictor:
    """The model as it is, ready to answer."""
    return PairPredictor(model)


def load(folder: Path) -> PairPredictor:
    """The predictor of a saved model."""
    return PairPredictor(load_model(folder))
