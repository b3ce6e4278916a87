"""Starter backbones: small encoders pre-trained on generated pictures, for machines without a hub.

A starter is a folder `model.safetensors` (float16, timm's state-dict names, no classifier),
`config.json` (timm's hub layout), `card.json` and `card.md` (what it is, how it was made, what it
measured). It is deterministic for a given machine, library versions and thread count.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from regraft.data.examples.textures import texture_images
from regraft.errors import UserError
from regraft.progress import note, track
from regraft.training.starter_files import (
    card_text,
    check_file,
    library_versions,
    save_starter,
    shell_command,
    write_card,
)
from regraft.training.starter_probe import (
    create_network,
    embed_pixels,
    fixed_torch,
    normalised,
    probe_starter,
)

if TYPE_CHECKING:
    import torch
    from torch import nn

Draw = Callable[..., tuple[NDArray[np.uint8], NDArray[np.int64]]]

SOURCES: dict[str, Draw] = {"textures": texture_images}
BATCH_SIZE = 32
PEAK_LR = 2e-3
WEIGHT_DECAY = 0.05
LABEL_SMOOTHING = 0.1
HELD_OUT_FRACTION = 0.1


def pretrain_starter(
    out_file: Path | str,
    *,
    architecture: str = "test_resnet",
    source: str = "textures",
    classes: int = 126,
    images: int = 6300,
    epochs: int = 24,
    image_size: int = 96,
    seed: int = 0,
    threads: int = 1,
    probe_images_per_class: int = 20,
) -> dict[str, Any]:
    """Pre-train `architecture` on a generated source task and write the starter folder.

    `images` is the total number of pictures drawn; a tenth of them is held out. `image_size` is
    the side of the input in pixels; the first half of the epochs runs at two thirds of it, which
    costs less than half as much. Then a linear probe on the example leaves
    (`probe_images_per_class` of each class; 0 skips it) is compared with the same network at
    random weights. Returns the card, also written beside `out_file` as card.json and card.md.

    Raises `UserError` for an unknown source or architecture or impossible counts.
    """
    out_file = Path(out_file)
    _check_request(out_file, architecture, source)
    _check_size(classes, images, epochs, image_size)
    request = {
        "architecture": architecture, "source": source, "classes": classes, "images": images,
        "epochs": epochs, "image_size": image_size, "seed": seed, "threads": threads,
    }  # fmt: skip
    started = time.process_time()
    with fixed_torch(seed, threads):
        model = create_network(architecture, num_classes=classes)
        pixels, labels = SOURCES[source](classes=classes, images=images, size=image_size, seed=seed)
        losses, accuracy = _fit(model, pixels, labels, epochs=epochs, seed=seed)
    save_starter(model, out_file, architecture, image_size)
    card: dict[str, Any] = {
        "name": out_file.parent.name,
        **request,
        "train_loss": [round(loss, 4) for loss in losses],
        "source_task_accuracy": round(accuracy, 4),
        "cpu_seconds": round(time.process_time() - started, 1),
        "file_bytes": out_file.stat().st_size,
        "licence": "Apache-2.0",
        "third_party_data": "none",
        "made_with": library_versions(),
        "reproduce": shell_command(out_file, **request),
    }
    if probe_images_per_class:
        card["probe"] = probe_starter(out_file, images_per_class=probe_images_per_class, seed=seed)
    write_card(card, out_file.parent, card_text(card))
    return card


def _check_request(out_file: Path, architecture: str, source: str) -> None:
    import timm

    check_file(out_file)
    if source not in SOURCES:
        raise UserError("unknown source task", got=source, expected=" or ".join(SOURCES))
    if not timm.is_model(architecture):
        raise UserError(
            "unknown architecture", got=architecture, expected="a name of timm.list_models()"
        )


def _check_size(classes: int, images: int, epochs: int, image_size: int) -> None:
    if classes < 2 or images < 4 * classes or epochs < 1 or image_size < 32:
        raise UserError(
            "the source task is too small",
            got=f"{classes} classes, {images} images of {image_size} pixels, {epochs} epochs",
            expected="at least 2 classes, 4 images for each, 32 pixels and 1 epoch",
        )


def _fit(
    model: nn.Module,
    pixels: NDArray[np.uint8],
    labels: NDArray[np.int64],
    *,
    epochs: int,
    seed: int,
) -> tuple[list[float], float]:
    """Train; returns the mean loss of each epoch and the accuracy on the held-out pictures."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(pixels), generator=generator)
    held_out = max(int(len(pixels) * HELD_OUT_FRACTION), 1)
    test, train = order[:held_out], order[held_out:]
    images, targets = torch.from_numpy(pixels), torch.from_numpy(labels)
    optimiser = torch.optim.AdamW(model.parameters(), lr=PEAK_LR, weight_decay=WEIGHT_DECAY)
    steps = -(-len(train) // BATCH_SIZE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, max_lr=PEAK_LR, total_steps=steps * epochs, pct_start=0.2
    )
    full = pixels.shape[1]
    history = []
    for epoch in track(range(epochs), "pre-training", total=epochs):
        model.train()
        size = full * 2 // 3 if epoch < epochs // 2 else full
        losses = []
        for batch in train[torch.randperm(len(train), generator=generator)].split(BATCH_SIZE):
            pictures = _augmented(normalised(images[batch]), generator, size)
            losses.append(_step(model, optimiser, pictures, targets[batch]))
            schedule.step()
        history.append(float(np.mean(losses)))
        if not np.isfinite(history[-1]):
            raise RuntimeError(f"pre-training diverged in epoch {epoch + 1}: loss {history[-1]}")
        note(f"epoch {epoch + 1}/{epochs}: loss {history[-1]:.3f}")
    scores = embed_pixels(model, pixels[test.numpy()], full)
    return history, float((scores.argmax(axis=1) == labels[test.numpy()]).mean())


def _step(
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    images: torch.Tensor,
    targets: torch.Tensor,
) -> float:
    import torch
    from torch.nn import functional

    images = images.contiguous(memory_format=torch.channels_last)
    loss = functional.cross_entropy(model(images), targets, label_smoothing=LABEL_SMOOTHING)
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 2.0)
    optimiser.step()
    return loss.item()


def _augmented(images: torch.Tensor, generator: torch.Generator, size: int) -> torch.Tensor:
    """Zoom into the batch, to `size` pixels; flip, light, tint and partly erase each picture."""
    import torch
    from torch.nn import functional

    count, _, drawn, _ = images.shape

    def uniform(low: float, high: float, *shape: int) -> torch.Tensor:
        return torch.rand(shape, generator=generator) * (high - low) + low

    window = int(drawn * uniform(0.65, 1.0, 1).item())
    top, left = (uniform(0, drawn - window + 1, 2)).int().tolist()
    images = images[:, :, top : top + window, left : left + window]
    images = functional.interpolate(images, size=(size, size), mode="bilinear", antialias=True)
    for axis in (2, 3):
        flipped = uniform(0, 1, count, 1, 1, 1) < 0.5
        images = torch.where(flipped, images.flip(axis), images)
    images = images * uniform(0.7, 1.35, count, 1, 1, 1) + uniform(-0.3, 0.3, count, 3, 1, 1)
    images = images + uniform(-0.3, 0.3, count, 1, 1, 1)
    side = size // 4
    y, x = uniform(0, size - side, 2).int().tolist()
    images[: count // 2, :, y : y + side, x : x + side] = 0.0
    return images
