"""Image classification: encoder -> (identity bridge) -> linear head or cache model."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from regraft.backbones.blockwise import BlockwiseEncoder
from regraft.backbones.encoder import blank_encoder
from regraft.backbones.folding import folded
from regraft.backbones.heads import CacheHead
from regraft.backbones.layout import channels_last
from regraft.data.images import open_rgb
from regraft.progress import track
from regraft.tasks.classifier import Classifier
from regraft.tasks.image_predictor import ImagePredictor
from regraft.tasks.image_views import ComposedViews, ImageViews, flip_views

_BATCH = 16


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
    """Write model.safetensors and model.json (last, so that a folder with it is complete)."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {key: value.contiguous() for key, value in model.state_dict().items()}
    save_file(state, folder / "model.safetensors")
    card = {
        "task": "image_classification",
        "classes": model.classes,
        "backbone": model.encoder.spec.to_json(),
        "test_views": model.test_views,
        "temperature": model.temperature,
        "head": "cache_model" if isinstance(model.head, CacheHead) else "linear",
        "parameters": sum(p.numel() for p in model.parameters()),
        "auxiliary": model.auxiliary,
        "auxiliary_temperatures": model.auxiliary_temperatures,
    }
    (folder / "model.json").write_text(json.dumps(card, indent=2), encoding="utf-8")


def load_model(folder: Path) -> Classifier:
    """The model that `save` wrote, in eval mode."""
    card = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    model = Classifier(
        blank_encoder(card["backbone"], folder),
        card["classes"],
        test_views=card["test_views"],
        auxiliary=card.get("auxiliary"),
    )
    model.temperature = card["temperature"]
    model.auxiliary_temperatures |= card.get("auxiliary_temperatures", {})
    model.load_state_dict(load_file(folder / "model.safetensors"))
    return model.eval()


def with_class(model: Classifier, label: str, weight: np.ndarray, bias: float) -> Classifier:
    """A copy that also knows `label`, whose logit is `weight` (dim,) . embedding + `bias`.

    Encoder, rows of the known classes and temperature stay as they are, bit for bit.
    """
    state = {name: value.clone() for name, value in model.state_dict().items()}
    linear = "head.linear" if isinstance(model.head, CacheHead) else "head"
    row = torch.from_numpy(np.asarray(weight, dtype=np.float32))[None].to(model.encoder.device)
    end = torch.tensor([bias], dtype=torch.float32, device=row.device)
    for name, new in (("weight", row), ("bias", end)):
        own, others = state[f"{linear}.{name}"].tensor_split([len(model.classes)])
        state[f"{linear}.{name}"] = torch.cat([own, new, others])
    if "head.values" in state:  # no key speaks for the new class
        state["head.values"] = nn.functional.pad(state["head.values"], (0, 1))
    encoder = model.encoder.blank().to(model.encoder.device)
    classes = [*model.classes, label]
    grown = Classifier(encoder, classes, test_views=model.test_views, auxiliary=model.auxiliary)
    grown.temperature = model.temperature
    grown.auxiliary_temperatures = dict(model.auxiliary_temperatures)
    grown.load_state_dict(state)
    return grown.eval()


@torch.inference_mode()
def embeddings_and_logits(model: Classifier, paths: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings (n, dim) and logits (n, classes) of photos, each the mean over the test views.

    The logits are those of `predict`; a linear function of these embeddings is what a linear head
    answers to the views on average.
    """
    model = model.for_inference()
    embeddings, logits = [], []
    for start in track(range(0, len(paths), _BATCH), "features", total=-(-len(paths) // _BATCH)):
        images = [open_rgb(path) for path in paths[start : start + _BATCH]]
        x = model.encoder.spec.preprocessing.tensor(images).to(model.encoder.device)
        rows, found = model.averaged(x)
        embeddings.append(found.cpu().numpy())
        logits.append(model.of_classes(rows).cpu().numpy())
    return np.concatenate(embeddings), np.concatenate(logits)


def embed(
    encoder: BlockwiseEncoder, rows: pd.DataFrame, *, views: int
) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings (n, dim) of images as they are, and averaged over `views` flips (unit length)."""
    plain, averaged = [], []
    encoder = folded(encoder)
    starts = range(0, len(rows), _BATCH)
    for start in track(starts, "features", total=len(starts)):
        images = [open_rgb(path) for path in rows["path"].iloc[start : start + _BATCH]]
        x = encoder.spec.preprocessing.tensor(images).to(encoder.device)
        with torch.inference_mode():
            found = torch.stack([encoder(view) for view in flip_views(x, views)])
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


def composed_views(
    encoder: BlockwiseEncoder, rows: pd.DataFrame, compose: Callable[..., Any], *, seed: int
) -> ComposedViews:
    """Views that `compose(photo number, photo, rng, side)` makes of the photos of these rows."""
    return ComposedViews(rows["path"].tolist(), encoder.spec.preprocessing, compose, seed=seed)


def embeddings_of_views(
    encoder: BlockwiseEncoder, views: ImageViews, numbers: list[int]
) -> np.ndarray:
    """Embeddings (n, len(numbers), dim) of these training views of every example."""
    encoder = folded(encoder)
    return _over_views(encoder, views, numbers, encoder.device, "augmented views")


def logits_of_views(model: Classifier, views: ImageViews, n_views: int) -> np.ndarray:
    """Logits (n, n_views, classes) of the training views 0..n_views-1 of every example."""
    model = model.for_inference()
    numbers = list(range(n_views))
    return _over_views(model, views, numbers, model.encoder.device, "the teacher's answers")


@torch.inference_mode()
def _over_views(
    module: nn.Module,
    views: ImageViews,
    numbers: list[int],
    device: torch.device,
    description: str,
) -> np.ndarray:
    pairs = np.array([(i, v) for i in range(len(views)) for v in numbers])
    batches = [pairs[start : start + _BATCH] for start in range(0, len(pairs), _BATCH)]
    found = []
    for pair in track(batches, description, total=len(batches)):
        x = views.batch(pair[:, 0], pair[:, 1]).to(device)
        output = module(channels_last(x))
        found.append(output.float().cpu().numpy())
    return np.concatenate(found).reshape(len(views), len(numbers), -1)


def predictor(model: Classifier) -> ImagePredictor:
    """The model as it is, ready to answer."""
    return ImagePredictor(model)


def load(folder: Path) -> ImagePredictor:
    """The predictor of a saved model."""
    return ImagePredictor(load_model(folder))
