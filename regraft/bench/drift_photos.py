"""The photos that streams are made of: embedded once, kept in a file."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image, ImageEnhance, ImageFilter

from regraft.bench.cell import digest
from regraft.bench.inputs import Backbone
from regraft.data.duplicates import NEAR_DUPLICATE_DISTANCE
from regraft.data.image_statistics import image_statistics
from regraft.data.images import DEFAULT_MAX_PIXELS, inspect_image, open_rgb
from regraft.data.inspection import group_examples
from regraft.progress import track

_BATCH = 16
_TAPS = 3
CORRUPTED = 400

CORRUPTIONS = ("blur", "noise", "dark")
"""A lens out of focus (Gaussian, radius 2 of 256 pixels), a noisy sensor (standard deviation 20 of
255), under-exposure (60 % of the brightness)."""


@dataclass(frozen=True)
class Photos:
    """Lab photos, some of them corrupted, and field photos: tables with id, domain, label, group,
    stat_<name>, lab_row (of corrupted ones: which lab photo), and embeddings (n, dim)."""

    tables: dict[str, pd.DataFrame]
    embeddings: dict[str, np.ndarray]


def embedded(data: Path, backbone: Backbone, folder: Path, *, corrupted: int = CORRUPTED) -> Photos:
    """Every photo below lab/CLASS, those below field/CLASS of the same classes, and `corrupted`
    lab photos with each corruption; each photo as it is, not mirrored.

    Kept in `folder` under a key of file names, sizes and weights.
    """
    listing = _listing(data)
    facts = [[row.id, Path(str(row.path)).stat().st_size] for row in listing.itertuples()]
    weights = backbone.weights.stat().st_size if backbone.weights else 0
    key = digest(facts, backbone.name, weights, CORRUPTIONS, corrupted)
    store = folder / f"photos-{key}"
    parts = {name: store / f"{name}.npy" for name in ("lab", "field", *CORRUPTIONS)}
    if not all(path.is_file() for path in parts.values()):
        store.mkdir(parents=True, exist_ok=True)
        _embed(listing, backbone, store, corrupted)
    tables = {name: pd.read_parquet(store / f"{name}.parquet") for name in parts}
    return Photos(tables, {name: np.load(path) for name, path in parts.items()})


def _listing(data: Path) -> pd.DataFrame:
    rows = [
        (f"{domain}/{path.parent.name}/{path.name}", str(path), domain, path.parent.name)
        for domain in ("lab", "field")
        for path in sorted((data / domain).glob("*/*.jpg"))
    ]
    listing = pd.DataFrame(rows, columns=["id", "path", "domain", "label"])
    taught = set(listing.loc[listing["domain"] == "lab", "label"])
    return listing[listing["label"].isin(taught)].reset_index(drop=True)


def _embed(listing: pd.DataFrame, backbone: Backbone, store: Path, corrupted: int) -> None:
    from regraft.backbones.encoder import Encoder
    from regraft.backbones.loading import load_pretrained

    encoder = Encoder(
        *load_pretrained(backbone.name, weights=str(backbone.weights or ""), taps=_TAPS)
    ).eval()
    domains = {
        domain: _grouped(listing[listing["domain"] == domain].reset_index(drop=True))
        for domain in ("lab", "field")
    }
    drawn = np.random.default_rng(0).permutation(len(domains["lab"]))[:corrupted]
    for name in ("lab", "field", *CORRUPTIONS):
        own = domains.get(name, domains["lab"].iloc[drawn])
        own = own.assign(lab_row=drawn if name in CORRUPTIONS else -1).reset_index(drop=True)
        change = _CHANGES.get(name, lambda image, seed: image)
        embeddings, statistics = _pass(encoder, own["path"].tolist(), change, name)
        table = pd.concat([own, pd.DataFrame(statistics).add_prefix("stat_")], axis=1)
        table.to_parquet(store / f"{name}.parquet")
        np.save(store / f"{name}.npy", embeddings)


def _grouped(rows: pd.DataFrame) -> pd.DataFrame:
    hashes = [
        inspect_image(Path(path), max_pixels=DEFAULT_MAX_PIXELS, min_side=1)["perceptual_hash"]
        for path in rows["path"]
    ]
    table = rows.assign(perceptual_hash=hashes, quality_flags="")
    return group_examples(table, distance=NEAR_DUPLICATE_DISTANCE)[0][[*rows.columns, "group"]]


def _pass(
    encoder: Any, paths: list[str], change: Callable[..., Image.Image], name: str
) -> tuple[np.ndarray, list[dict[str, float]]]:
    import torch

    found, statistics = [], []
    starts: Iterable[int] = range(0, len(paths), _BATCH)
    for start in track(starts, f"{name} photos", total=-(-len(paths) // _BATCH)):
        batch = paths[start : start + _BATCH]
        images = [change(open_rgb(path), start + k) for k, path in enumerate(batch)]
        statistics += [image_statistics(image) for image in images]
        x = encoder.spec.preprocessing.tensor(images)
        with torch.inference_mode():
            found.append(encoder(x).numpy())
    return np.concatenate(found), statistics


def _blurred(image: Image.Image, seed: int) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(2 * max(image.size) / 256))


def _noisy(image: Image.Image, seed: int) -> Image.Image:
    values = np.asarray(image, dtype=np.float64)
    noise = np.random.default_rng(seed).normal(scale=20, size=values.shape)
    return Image.fromarray(np.clip(np.round(values + noise), 0, 255).astype(np.uint8))


def _dark(image: Image.Image, seed: int) -> Image.Image:
    return ImageEnhance.Brightness(image).enhance(0.6)


_CHANGES: dict[str, Callable[..., Image.Image]] = {
    "blur": _blurred,
    "noise": _noisy,
    "dark": _dark,
}
