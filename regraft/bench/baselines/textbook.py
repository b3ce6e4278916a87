"""The recipe of the tutorials: a frozen body, a new linear head, Adam at 1e-3.

`requires_grad_(False)` freezes parameters only. The tutorials call `model.train()`, so the
statistics of batch norm drift towards the new photos: part of what this baseline shows.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.data import DataLoader

from regraft.bench.baselines.photos import Network, Photos, measured, network_and_photos
from regraft.bench.prepared import Prepared
from regraft.steps.hardware import use_device


def measure(prepared: Prepared, *, epochs: int = 10) -> dict[str, Any]:
    """{"peer": {"test", "source", "target"}}."""
    network, photos, classes = network_and_photos(prepared)
    with prepared.timed("finetune"):
        _train(network.to(use_device()), photos, epochs)
    return {"peer": measured(prepared, network, classes, photos.how)}


def _train(network: Network, photos: Photos, epochs: int) -> None:
    network.body.requires_grad_(False)
    network.train()
    optimiser = torch.optim.Adam(network.head.parameters(), lr=1e-3)
    device = network.head.weight.device
    for _ in range(epochs):
        for batch in DataLoader(photos, batch_size=32, shuffle=True):
            optimiser.zero_grad()
            network(batch["pixel_values"].to(device), batch["labels"].to(device))["loss"].backward()
            optimiser.step()
