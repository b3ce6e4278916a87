"""Image classification: encoder -> (identity bridge) -> linear head or cache model."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from regraft.backbones.encoder import Encoder
from regraft.backbones.heads import CacheHead
from regraft.backbones.loading import BackboneSpec, build
from regraft.data.images import open_rgb
from regraft.errors import UserError
from regraft.progress import track
from regraft.tasks.image_views import ComposedViews, ImageViews, flip_views

_BATCH = 16


class Classifier(nn.Module):
    """An encoder and a head: linear, or a cache model (see `set_head`).

    `test_views` flipped copies of an image are averaged (as logits) when predicting;
    `temperature` divides the logits before the softmax (Guo et al., ICML 2017).

    `auxiliary` are the classes of further tasks by name (hard parameter sharing: Caruana,
    "Multitask Learning", Machine Learning 28, 1997). Their rows of the head follow those of
    `classes`, in this order; `auxiliary_temperatures` are theirs. The model itself answers with
    `classes` alone.
    """

    def __init__(
        self,
        encoder: Encoder,
        classes: list[str],
        *,
        test_views: int = 1,
        auxiliary: dict[str, list[str]] | None = None,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.classes = classes
        self.test_views = test_views
        self.temperature = 1.0
        self.auxiliary = auxiliary or {}
        self.auxiliary_temperatures = dict.fromkeys(self.auxiliary, 1.0)
        rows = len(classes) + sum(map(len, self.auxiliary.values()))
        self.head: nn.Linear | CacheHead = nn.Linear(encoder.dim, rows)

    @property
    def auxiliary_columns(self) -> dict[str, slice]:
        """Where the logits of each auxiliary task are among those of the head."""
        return columns_of(len(self.classes), self.auxiliary)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images (n, 3, size, size) to logits (n, classes)."""
        return self.of_classes(self.head(self.encoder(x)))

    def of_classes(self, logits: torch.Tensor) -> torch.Tensor:
        """What the head's logits (n, rows) say of the classes: (n, classes)."""
        return logits[:, : len(self.classes)] if self.auxiliary else logits

    @torch.inference_mode()
    def averaged_logits(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (n, classes), mean over the test views."""
        return self.of_classes(self.averaged_rows(x))

    @torch.inference_mode()
    def averaged_rows(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (n, rows) of all tasks, mean over the test views."""
        self.eval()
        views = flip_views(x, self.test_views)
        return torch.stack([self.head(self.encoder(view)) for view in views]).mean(0)

    def set_auxiliary_head(self, weight: np.ndarray, bias: np.ndarray) -> None:
        """Put in the rows of the auxiliary tasks: weight (their classes, dim), bias."""
        own = {name: value.clone() for name, value in self.head.state_dict().items()}
        for name, rows in (("weight", weight), ("bias", bias)):
            own[name][len(self.classes) :] = torch.from_numpy(np.asarray(rows, dtype=np.float32))
        self.head.load_state_dict(own)

    def set_head(self, weight: np.ndarray, bias: np.ndarray, **cache: Any) -> None:
        """Put in a head that was fitted on features: weight (classes, dim), bias (classes,), and
        of a cache model the other arrays of `CacheModel.arrays`. Auxiliary rows stay.

        Raises
        ------
        UserError
            A cache model for several tasks: its keys vote for the classes of one.
        """
        if self.auxiliary and cache:
            raise UserError(
                "a cache model answers one task",
                where="features.head",
                got=f"cache_model with the auxiliary tasks {', '.join(self.auxiliary)}",
                expected="auto or a linear head",
            )
        if self.auxiliary:
            kept = {name: value.cpu().numpy() for name, value in self.head.state_dict().items()}
            weight = np.concatenate([weight, kept["weight"][len(self.classes) :]])
            bias = np.concatenate([bias, kept["bias"][len(self.classes) :]])
        arrays = {"weight": weight, "bias": bias}
        if cache:
            arrays = {f"linear.{name}": value for name, value in arrays.items()} | cache
            n_keys, dim = np.shape(cache["keys"])
            self.head = CacheHead(dim, len(self.classes), n_keys).to(self.encoder.device)
        tensors = {
            name: torch.from_numpy(np.asarray(value, dtype=np.float32))
            for name, value in arrays.items()
        }
        self.head.load_state_dict(tensors)

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        """As ever, and the head takes the form of the one whose weights these are."""
        if "head.keys" in state_dict:
            n_keys, dim = state_dict["head.keys"].shape
            self.head = CacheHead(dim, len(self.classes), n_keys).to(self.encoder.device)
        return super().load_state_dict(state_dict, strict=strict, assign=assign)


def columns_of(n_classes: int, auxiliary: dict[str, list[str]]) -> dict[str, slice]:
    """Where the logits of each auxiliary task are, behind those of `n_classes` main classes.

    >>> columns_of(3, {"crop": ["apple", "tomato"]})
    {'crop': slice(3, 5, None)}
    """
    found, start = {}, n_classes
    for name, classes in auxiliary.items():
        found[name] = slice(start, start + len(classes))
        start += len(classes)
    return found


def new_model(
    encoder: Encoder,
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
    spec = BackboneSpec.from_json(card["backbone"])
    encoder = Encoder(spec, build(spec.architecture, spec.model_args))
    model = Classifier(
        encoder,
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
    spec = model.encoder.spec
    encoder = Encoder(spec, build(spec.architecture, spec.model_args)).to(model.encoder.device)
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
    model.eval()
    embeddings, logits = [], []
    for start in track(range(0, len(paths), _BATCH), "features", total=-(-len(paths) // _BATCH)):
        images = [open_rgb(path) for path in paths[start : start + _BATCH]]
        x = model.encoder.spec.preprocessing.tensor(images).to(model.encoder.device)
        found = [model.encoder(view) for view in flip_views(x, model.test_views)]
        embeddings.append(torch.stack(found).mean(0).cpu().numpy())
        answers = torch.stack([model.of_classes(model.head(view)) for view in found])
        logits.append(answers.mean(0).cpu().numpy())
    return np.concatenate(embeddings), np.concatenate(logits)


def embed(encoder: Encoder, rows: pd.DataFrame, *, views: int) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings (n, dim) of images as they are, and averaged over `views` flips (unit length)."""
    plain, averaged = [], []
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
    encoder: Encoder, rows: pd.DataFrame, augmentation: dict[str, Any], *, seed: int
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
    encoder: Encoder, rows: pd.DataFrame, compose: Callable[..., Any], *, seed: int
) -> ComposedViews:
    """Views that `compose(photo number, photo, rng, side)` makes of the photos of these rows."""
    return ComposedViews(rows["path"].tolist(), encoder.spec.preprocessing, compose, seed=seed)


def embeddings_of_views(encoder: Encoder, views: ImageViews, numbers: list[int]) -> np.ndarray:
    """Embeddings (n, len(numbers), dim) of these training views of every example."""
    encoder.eval()
    return _over_views(encoder, views, numbers, encoder.device, "augmented views")


def logits_of_views(model: Classifier, views: ImageViews, n_views: int) -> np.ndarray:
    """Logits (n, n_views, classes) of the training views 0..n_views-1 of every example."""
    model.eval()
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
        output = module(x.contiguous(memory_format=torch.channels_last))
        found.append(output.float().cpu().numpy())
    return np.concatenate(found).reshape(len(views), len(numbers), -1)


class ImagePredictor:
    """A saved classifier, ready to answer."""

    def __init__(self, model: Classifier) -> None:
        self.model = model
        self.classes = model.classes
        self.temperature = model.temperature

    def logits(self, inputs: list[Any]) -> np.ndarray:
        """Averaged logits before the temperature, (n, classes); `inputs` as in `predict`, or
        Pillow images."""
        return self.rows(inputs)[:, : len(self.classes)]

    def rows(self, inputs: list[Any]) -> np.ndarray:
        """The same for every row of the head, those of the auxiliary tasks included."""
        found = [self.model.averaged_rows(x).cpu().numpy() for x in self.batches(inputs)]
        n_rows = len(self.classes) + sum(map(len, self.model.auxiliary.values()))
        return np.concatenate(found) if found else np.zeros((0, n_rows), np.float32)

    def batches(self, inputs: list[Any]) -> Iterator[torch.Tensor]:
        """What the network reads of `inputs`: (n, 3, size, size), a few at a time."""
        preprocessing = self.model.encoder.spec.preprocessing
        for start in range(0, len(inputs), _BATCH):
            images = [decode(value) for value in inputs[start : start + _BATCH]]
            yield preprocessing.tensor(images).to(self.model.encoder.device)

    def probabilities(self, inputs: list[Any]) -> np.ndarray:
        """Calibrated probabilities, (n, classes)."""
        return softmax(self.logits(inputs) / self.model.temperature)

    def predict(self, inputs: list[str | bytes]) -> list[dict[str, Any]]:
        """One answer {label, confidence, probabilities} per input; with auxiliary tasks also
        "tasks": {name: {label, confidence}}."""
        found = self.rows(inputs)
        tasks = self.task_probabilities(found)
        answers = []
        probabilities = softmax(found[:, : len(self.classes)] / self.model.temperature)
        for number, row in enumerate(probabilities):
            best = int(row.argmax())
            named = dict(zip(self.classes, (round(float(p), 6) for p in row), strict=True))
            answer: dict[str, Any] = {
                "label": self.classes[best],
                "confidence": named[self.classes[best]],
                "probabilities": named,
            }
            if tasks:
                answer["tasks"] = {name: self._best(name, p[number]) for name, p in tasks.items()}
            answers.append(answer)
        return answers

    def task_probabilities(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Calibrated probabilities (n, classes of the task) of each auxiliary task, from `rows`."""
        temperatures = self.model.auxiliary_temperatures
        return {
            name: softmax(rows[:, columns] / temperatures[name])
            for name, columns in self.model.auxiliary_columns.items()
        }

    def _best(self, task: str, probabilities: np.ndarray) -> dict[str, Any]:
        best = int(probabilities.argmax())
        label = self.model.auxiliary[task][best]
        return {"label": label, "confidence": round(float(probabilities[best]), 6)}


def predictor(model: Classifier) -> ImagePredictor:
    """The model as it is, ready to answer."""
    return ImagePredictor(model)


def load(folder: Path) -> ImagePredictor:
    """The predictor of a saved model."""
    return ImagePredictor(load_model(folder))


def decode(value: Any) -> Any:
    """An RGB image from a path, bytes, base64 text or a Pillow image.

    Raises
    ------
    UserError
        Neither an existing file nor base64, or not an image.
    """
    if not isinstance(value, str):
        return open_rgb(value)
    if len(value) < 4096 and Path(value).is_file():
        return open_rgb(value)
    text = value.partition(",")[2] if value.startswith("data:") else value
    try:
        return open_rgb(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError) as error:
        raise UserError(
            "the input is neither an existing file nor base64",
            got=value[:80],
            expected="a path, the bytes of an image, or base64",
        ) from error


def softmax(logits: np.ndarray) -> np.ndarray:
    """Row-wise softmax of (n, classes)."""
    shifted = np.exp(logits - logits.max(1, keepdims=True))
    return np.asarray(shifted / shifted.sum(1, keepdims=True))
