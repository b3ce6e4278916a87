"""Image classification: encoder -> (identity bridge) -> linear head or cache model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL.Image import Image
from torch import nn

from regraft.backbones.blockwise import BlockwiseEncoder
from regraft.backbones.encoder import Encoder
from regraft.backbones.folding import folded
from regraft.backbones.loading import BackboneSpec, build, load_pretrained
from regraft.data.images import open_rgb
from regraft.errors import UserError
from regraft.progress import track
from regraft.tasks.classifier import Classifier
from regraft.tasks.classifier_files import load_classifier, save_classifier, with_class
from regraft.tasks.image_predictor import ImagePredictor
from regraft.tasks.image_views import ComposedViews, ImageViews, ServedViews, views_of
from regraft.tasks.views import logits_of_views, over_views

_BATCH = 16

__all__ = ["load_model", "logits_of_views", "with_class"]
load_model = load_classifier


def pretrained_encoder(backbone: dict[str, Any], *, taps: int) -> Encoder:
    """The encoder that the recipe's backbone section names, with its weights."""
    return Encoder(*load_pretrained(**backbone, taps=taps)).eval()


def student_encoder(teacher: Encoder, options: dict[str, Any]) -> Encoder:
    """The student's encoder before it learns. Named `teacher` it is a copy for a smaller input; any
    other begins with its own pre-trained weights. `options` are the recipe's student section."""
    options = dict(options)
    if options.pop("layers"):
        raise UserError(
            "a student of photos has no number of layers", where="distillation.student.layers",
            fix="leave it out; image_size makes the student cheaper",
        )  # fmt: skip
    spec = teacher.spec
    other = bool(options["name"] != "teacher" or options["factory"])
    cheaper = options["image_size"] or _cheaper_size(spec.preprocessing.image_size, other=other)
    if other:
        encoder = Encoder(*load_pretrained(**options, taps=spec.taps))
        if cheaper < encoder.input_size and encoder.takes_image_size(cheaper):
            encoder = Encoder(_at_size(encoder.spec, cheaper), encoder.model)
    else:
        spec = _at_size(spec, cheaper)
        encoder = Encoder(spec, build(spec.architecture, spec.model_args))
        encoder.load_state_dict(teacher.state_dict())
    return encoder


def _at_size(spec: BackboneSpec, image_size: int) -> BackboneSpec:
    return replace(spec, preprocessing=replace(spec.preprocessing, image_size=image_size))


def _cheaper_size(image_size: int, *, other: bool) -> int:
    """About 5/7 of the teacher's side, a multiple of 32: half of the arithmetic per view. (On leaf
    photos at 5 labels per class a new head alone keeps 99.7 % of the teacher's accuracy at 160 of
    224 pixels, 97.3 % at 128.) At most 6/7 with an architecture of its own, which sees less in a
    pixel: a new head on MobileNetV1 was right on 98.3 % of validation photos at 192 pixels, on
    96.7 % at 160 (100 labels per class)."""
    side = image_size * 6 // 7 // 32 if other else round(image_size * 5 / 7 / 32)
    return max(side * 32, 32)


def new_model(
    encoder: BlockwiseEncoder,
    classes: list[str],
    *,
    test_views: int,
    auxiliary: dict[str, list[str]] | None = None,
) -> Classifier:
    """A classifier with an untrained head, for the tasks in `auxiliary` too."""
    return Classifier(encoder, classes, test_views=test_views, auxiliary=auxiliary)


def save(model: Classifier, folder: Path) -> None:
    """Write model.safetensors and model.json."""
    save_classifier(model, folder, task="image_classification")


@torch.inference_mode()
def embeddings_and_logits(model: Classifier, files: list[Path]) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings (n, dim) and logits (n, classes) of photos, each the mean over the test views.

    The logits are those of `predict`; a linear function of these embeddings is what a linear head
    answers to the views on average.
    """
    model = model.for_inference()
    embeddings, logits = [], []
    for start in track(range(0, len(files), _BATCH), "features", total=-(-len(files) // _BATCH)):
        images = [open_rgb(path) for path in files[start : start + _BATCH]]
        x = model.encoder.spec.preprocessing.tensor(images).to(model.encoder.device)
        rows, found = model.averaged(x)
        embeddings.append(found.cpu().numpy())
        logits.append(model.of_classes(rows).cpu().numpy())
    return np.concatenate(embeddings), np.concatenate(logits)


def embed(
    encoder: BlockwiseEncoder, rows: pd.DataFrame, *, views: int
) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings (n, dim) of images as they are, and averaged over `views` (unit length)."""
    plain, averaged = [], []
    encoder = folded(encoder)
    starts = range(0, len(rows), _BATCH)
    for start in track(starts, "features", total=len(starts)):
        images = [open_rgb(path) for path in rows["path"].iloc[start : start + _BATCH]]
        x = encoder.spec.preprocessing.tensor(images).to(encoder.device)
        with torch.inference_mode():
            found = torch.stack(
                [encoder(view) for view in views_of(x, views, encoder.closer_share)]
            )
        plain.append(found[0].cpu().numpy())
        averaged.append(nn.functional.normalize(found.mean(0), dim=1).cpu().numpy())
    return np.concatenate(plain), np.concatenate(averaged)


def training_views(
    encoder: BlockwiseEncoder, rows: pd.DataFrame, augmentation: dict[str, Any], *, seed: int
) -> ImageViews:
    """The views of these rows that a model with this encoder is trained on."""
    return ImageViews(
        rows["path"].tolist(),
        encoder.spec.preprocessing,
        augmentation,
        seed=seed,
        contents=rows["sha256"].tolist(),
    )


def served_views(encoder: BlockwiseEncoder, views: ImageViews, count: int) -> ServedViews:
    """The test views of the same images, for training to measure what will be served."""
    return ServedViews(views, count=count, closer_share=encoder.closer_share)


def composed_views(
    encoder: BlockwiseEncoder, rows: pd.DataFrame, compose: Callable[..., Any], *, seed: int
) -> ComposedViews:
    """Views that `compose(photo number, photo, rng, side)` makes of the photos of these rows."""
    return ComposedViews(
        rows["path"].tolist(),
        encoder.spec.preprocessing,
        compose,
        seed=seed,
        contents=rows["sha256"].tolist(),
    )


def embeddings_of_views(
    encoder: BlockwiseEncoder, views: ImageViews, numbers: list[int]
) -> np.ndarray:
    """Embeddings (n, len(numbers), dim) of these training views of every example."""
    encoder = folded(encoder)
    return over_views(encoder, views, numbers, encoder.device, "augmented views")


def open_example(path: str) -> Image:
    """What a report shows of an example."""
    return open_rgb(path)


def predictor(model: Classifier) -> ImagePredictor:
    """The model as it is, ready to answer."""
    return ImagePredictor(model)


def load(folder: Path) -> ImagePredictor:
    """The predictor of a saved model."""
    return ImagePredictor(load_classifier(folder))
