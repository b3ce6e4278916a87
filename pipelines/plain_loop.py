"""The loop that an engineer would write by hand: what `regraft bench cost` compares with.

Load, three epochs of a new head on the frozen network, three epochs of its last third, evaluate;
torch's own data set class, no cache, no checkpoints, no report. It reads the manifest of a finished
run, so that both train and test on the same photos. Runs as a process of its own:
`python -m pipelines.plain_loop MANIFEST BACKBONE_JSON`; prints one line of JSON.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

HEAD_EPOCHS, LAST_THIRD_EPOCHS, BATCH, RATE = 3, 3, 32, 1e-3


class Photos(Dataset[tuple[torch.Tensor, int]]):
    """Images with their class numbers."""

    def __init__(self, rows: pd.DataFrame, classes: list[str], transform: Any) -> None:
        self.rows, self.classes, self.transform = rows, classes, transform

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        from PIL import Image

        row = self.rows.iloc[index]
        with Image.open(row["path"]) as image:
            return self.transform(image.convert("RGB")), self.classes.index(row["label"])


def main(manifest: str, backbone: str) -> None:
    """Train, test, print accuracy and CPU seconds."""
    from regraft.backbones.loading import load_pretrained

    torch.manual_seed(0)
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    rows = pd.read_parquet(manifest)
    classes = sorted(rows.loc[rows["split"] == "train", "label"].unique())
    spec, body = load_pretrained(**json.loads(backbone))
    size, how = spec.preprocessing.image_size, spec.preprocessing
    transform = v2.Compose([
        v2.Resize((size, size)), v2.ToImage(), v2.ToDtype(torch.float32, scale=True),
        v2.Normalize(how.mean, how.std),
    ])  # fmt: skip
    loaders = {
        split: DataLoader(Photos(rows[rows["split"].isin(names)], classes, transform), BATCH,
                          shuffle=split == "train")
        for split, names in {"train": ["train", "val"], "test": ["test"]}.items()
    }  # fmt: skip
    model = nn.Sequential(body, nn.Linear(_width(body, size), len(classes)))
    for parameter in body.parameters():
        parameter.requires_grad_(False)
    _train(model, loaders["train"], HEAD_EPOCHS, RATE)
    parameters = list(body.parameters())
    for parameter in parameters[len(parameters) * 2 // 3 :]:
        parameter.requires_grad_(True)
    _train(model, loaders["train"], LAST_THIRD_EPOCHS, RATE / 10)
    accuracy = _test(model, loaders["test"])
    times = os.times()
    print(json.dumps({"accuracy": accuracy, "cpu_seconds": times.user + times.system}))


def _width(body: nn.Module, size: int) -> int:
    with torch.inference_mode():
        return int(body(torch.zeros(1, 3, size, size)).shape[1])


def _train(model: nn.Module, loader: Any, epochs: int, rate: float) -> None:
    optimiser = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=rate)
    model.train()
    for _ in range(epochs):
        for x, y in loader:
            optimiser.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimiser.step()


@torch.inference_mode()
def _test(model: nn.Module, loader: Any) -> float:
    model.eval()
    return float(np.mean(np.concatenate([(model(x).argmax(1) == y).numpy() for x, y in loader])))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
