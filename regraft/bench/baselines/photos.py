"""The photos of a split as the other libraries want them, and the network they train."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.utils.data import Dataset
from torchvision.transforms import v2

from regraft.backbones.loading import load_pretrained
from regraft.backbones.preprocessing import Preprocessing
from regraft.bench.methods.recipe import tested
from regraft.bench.prepared import Prepared
from regraft.data.images import open_rgb
from regraft.steps.measuring import metrics_of


class Photos(Dataset[dict[str, Any]]):
    """{"pixel_values": (3, size, size), "labels": class number} of every row; mirrored at random
    while training."""

    def __init__(
        self, rows: pd.DataFrame, classes: list[str], how: Preprocessing, *, training: bool
    ) -> None:
        self.paths = rows["path"].tolist()
        self.labels = [classes.index(label) for label in rows["label"]]
        self.how = how
        self.mirror = v2.RandomHorizontalFlip(0.5 if training else 0.0)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> dict[str, Any]:
        x = self.how.tensor([open_rgb(self.paths[index])])[0]
        return {"pixel_values": self.mirror(x), "labels": self.labels[index]}


class Network(nn.Module):
    """A pre-trained body and a new linear head."""

    def __init__(self, body: nn.Module, dim: int, n_classes: int) -> None:
        super().__init__()
        self.body, self.head = body, nn.Linear(dim, n_classes)

    def forward(
        self, pixel_values: torch.Tensor, labels: torch.Tensor | None = None
    ) -> dict[str, torch.Tensor]:
        """Logits (n, classes), and the mean cross-entropy where there are labels."""
        logits = self.head(self.body(pixel_values))
        if labels is None:
            return {"logits": logits}
        return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}


def network_and_photos(prepared: Prepared) -> tuple[Network, Photos, list[str]]:
    """The untrained network, the labelled photos (validation included), the classes."""
    torch.manual_seed(prepared.recipe.seed)
    rows = prepared.rows
    labelled = rows[rows["split"].isin(["train", "val"])]
    classes = sorted(labelled["label"].unique())
    spec, body = load_pretrained(**prepared.values["backbone"])
    how = spec.preprocessing
    size = how.image_size
    with torch.inference_mode():
        dim = int(body(torch.zeros(1, 3, size, size)).shape[1])
    return Network(body, dim, len(classes)), Photos(labelled, classes, how, training=True), classes


@torch.inference_mode()
def measured(
    prepared: Prepared, network: Network, classes: list[str], how: Preprocessing
) -> dict[str, Any]:
    """Metrics of the trained network on the test split and on each of its domains."""
    network.eval()
    test = tested(prepared, classes)
    device = network.head.weight.device
    found = []
    for start in range(0, len(test), 32):
        images = [open_rgb(path) for path in test["path"].iloc[start : start + 32]]
        logits = network(how.tensor(images).to(device))["logits"]
        found.append(logits.double().softmax(1).cpu().numpy())
    answers = np.concatenate(found)
    return metrics_of(test, answers, classes, prepared.domains, prepared.recipe.seed)
