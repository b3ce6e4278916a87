"""What every kind of task does with views of its examples, however they are rendered."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from regraft.backbones.layout import channels_last
from regraft.errors import UserError
from regraft.progress import track
from regraft.tasks.classifier import Classifier

_BATCH = 16


def one_view(views: int, what: str, *, why: str = "") -> None:
    """Raises UserError for more than one test view of `what`, which has no other; `why` not."""
    if views != 1:
        raise UserError(
            f"{what} has one view when it is answered",
            where="features.views",
            got=str(views),
            expected=f"1: {why}" if why else "1",
        )


def logits_of_views(model: Classifier, views: Any, n_views: int) -> np.ndarray:
    """Logits (n, n_views, classes) of the training views 0..n_views-1 of every example."""
    device, numbers = model.encoder.device, list(range(n_views))
    return over_views(model.for_inference(), views, numbers, device, "the teacher's answers")


@torch.inference_mode()
def over_views(
    module: nn.Module,
    views: Any,
    numbers: list[int],
    device: torch.device,
    description: str,
) -> np.ndarray:
    """What `module` makes of the views `numbers` of every example, (n, len(numbers), any).

    `views` are those of a task (`training.inputs.Views`).
    """
    pairs = np.array([(i, v) for i in range(len(views)) for v in numbers])
    batches = [pairs[start : start + _BATCH] for start in range(0, len(pairs), _BATCH)]
    found = []
    for pair in track(batches, description, total=len(batches)):
        x = views.batch(pair[:, 0], pair[:, 1]).to(device)
        output = module(channels_last(x))
        found.append(output.float().cpu().numpy())
    return np.concatenate(found).reshape(len(views), len(numbers), -1)
