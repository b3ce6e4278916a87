"""A classifier as a folder: model.safetensors, model.json and what its encoder needs beside."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from regraft.backbones.encoder import blank_encoder
from regraft.backbones.heads import CacheHead, FusionHead
from regraft.errors import UserError
from regraft.tasks.classifier import Classifier

_HEADS: dict[type[nn.Module], str] = {CacheHead: "cache_model", FusionHead: "fusion"}


def save_classifier(model: Classifier, folder: Path, *, task: str) -> None:
    """Write the folder, model.json last, so that a folder with it is complete."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {key: value.contiguous() for key, value in model.state_dict().items()}
    save_file(state, folder / "model.safetensors")
    model.encoder.save_beside(folder)
    card = {
        "task": task,
        "classes": model.classes,
        "backbone": model.encoder.spec.to_json(),
        "test_views": model.test_views,
        "temperature": model.temperature,
        "head": _HEADS.get(type(model.head), "linear"),
        "parameters": sum(p.numel() for p in model.parameters()),
        "auxiliary": model.auxiliary,
        "auxiliary_temperatures": model.auxiliary_temperatures,
    }
    (folder / "model.json").write_text(json.dumps(card, indent=2), encoding="utf-8")


def load_classifier(folder: Path, *, kind: type[Classifier] = Classifier) -> Classifier:
    """The model of this kind that `save_classifier` wrote, in eval mode."""
    card = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    model = kind(
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

    Raises UserError for a head that does not answer with one row per class.
    """
    if isinstance(model.head, FusionHead):
        raise UserError(
            "a fusion cannot learn a further class alone",
            where="the champion",
            fix="add examples of it to the table and run the recipe again",
        )
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
