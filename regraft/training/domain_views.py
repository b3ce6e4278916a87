"""What adaptation looks at: source photos on target backgrounds, and views of target examples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from PIL.Image import Image

from regraft.data.manifest import places
from regraft.progress import note
from regraft.transfer.adaptation.domains import COMPOSED, SOURCE, TARGET, Domains
from regraft.transfer.batches.background import composite

_LARGEST_SIDE = 2.0
"""Photos are shrunk to so many sides of the network's input before they are cut out."""


def domain_of(rows: pd.DataFrame) -> np.ndarray:
    """(n,) TARGET for rows of the domain of the unlabelled ones, else SOURCE."""
    targets = rows.loc[rows["split"] == "unlabelled", "domain"].unique()
    return np.where(rows["domain"].isin(targets), TARGET, SOURCE)


def in_one_domain(rows: pd.DataFrame) -> bool:
    """Whether the unlabelled rows are of the same domain as all labelled training rows."""
    train = rows.loc[rows["split"] == "train", "domain"]
    return bool(train.isin(rows.loc[rows["split"] == "unlabelled", "domain"]).all())


def adaptation_views(
    module: Any, encoder: Any, rows: pd.DataFrame, options: dict[str, Any], *, seed: int
) -> dict[str, np.ndarray]:
    """Embeddings for adaptation: {"composed_ids", "composed" (n, views, dim), "target_ids",
    "target" (m, views, dim)}; empty where there is no unlabelled target that differs in domain.

    `module` is the task, `options` the recipe's features section.
    """
    if not (rows["split"] == "unlabelled").any() or in_one_domain(rows):
        return {}
    side, training = domain_of(rows), rows["split"].isin(["train", "unlabelled"]).to_numpy()
    target = rows[training & (side == TARGET)]
    found: dict[str, np.ndarray] = {}
    budget = options["adaptation_budget"]
    views = min(options["target_views"], budget // max(len(target), 1))
    if views:
        rendered = module.training_views(encoder, target, options["augmentation"], seed=seed)
        embedded = module.embeddings_of_views(encoder, rendered, list(range(1, views + 1)))
        found |= {"target_ids": target["id"].to_numpy(str), "target": embedded.astype(np.float16)}
    source = rows[training & (side == SOURCE)]
    views = min(options["background_views"], budget // max(len(source), 1))
    if views and hasattr(module, "composed_views"):
        found |= _composed(module, encoder, source, target, views, seed)
    return found


def _composed(
    module: Any, encoder: Any, source: pd.DataFrame, target: pd.DataFrame, views: int, seed: int
) -> dict[str, np.ndarray]:
    """Source examples on target backgrounds; {} unless most of them can be cut out."""
    from regraft.data.foreground import foreground_of
    from regraft.data.images import open_rgb

    side = int(encoder.spec.preprocessing.image_size * _LARGEST_SIDE)
    masks = [foreground_of(_shrunk(open_rgb(path), side)).mask for path in source["path"]]
    cut = [number for number, mask in enumerate(masks) if mask is not None]
    if 2 * len(cut) < len(source):
        note(f"{len(cut)} of {len(source)} source photos have a plain background: none is replaced")
        return {}
    compose = _composer([masks[number] for number in cut], target["path"].tolist(), side)
    rendered = module.composed_views(encoder, source.iloc[cut], compose, seed=seed)
    embedded = module.embeddings_of_views(encoder, rendered, list(range(1, views + 1)))
    ids = source["id"].to_numpy(str)[cut]
    return {"composed_ids": ids, "composed": embedded.astype(np.float16)}


def _composer(
    masks: list[Any], backgrounds: list[str], side: int
) -> Callable[[int, Image, np.random.Generator, int], Image]:
    from regraft.data.images import open_rgb

    def compose(number: int, photo: Image, rng: np.random.Generator, size: int) -> Image:
        background = open_rgb(backgrounds[int(rng.integers(len(backgrounds)))])
        return composite(_shrunk(photo, side), masks[number], background, rng, size)

    return compose


def _shrunk(photo: Image, side: int) -> Image:
    small = photo.copy()
    small.thumbnail((side, side))
    return small


def domains_of(
    rows: pd.DataFrame,
    averaged: np.ndarray,
    views: dict[str, np.ndarray],
    classes: list[str],
    *,
    target_weight: float,
) -> tuple[Domains, np.ndarray]:
    """Features for adaptation, and the groups (s,) of the source examples.

    `rows` (n) with their features `averaged` (n, dim); `views` as `adaptation_views` returned them.
    """
    side, numbers = domain_of(rows), {name: index for index, name in enumerate(classes)}
    source = ((rows["split"] == "train") & (side == SOURCE)).to_numpy()
    target = (rows["split"].isin(["train", "unlabelled"]) & (side == TARGET)).to_numpy()
    parts = [(averaged[source], SOURCE, np.arange(source.sum()))]
    parts += [(averaged[target], TARGET, np.arange(target.sum()))]
    for key, domain, chosen in (("composed", COMPOSED, source), ("target", TARGET, target)):
        if key in views:
            example = places(views[f"{key}_ids"], rows.loc[chosen, "id"])
            count = views[key].shape[1]
            flat = views[key].reshape(-1, views[key].shape[2]).astype(np.float32)
            parts.append((flat, domain, np.repeat(example, count)))
    labels = rows["label"].map(numbers)
    domains = Domains(
        features=np.concatenate([part[0] for part in parts]).astype(np.float32),
        domain=np.concatenate([np.full(len(part[0]), part[1]) for part in parts]),
        example=np.concatenate([part[2] for part in parts]),
        source_labels=labels[source].to_numpy(dtype=int),
        target_labels=labels[target].fillna(-1).to_numpy(dtype=int),
        classes=len(classes),
        target_weight=target_weight,
    )
    return domains, rows.loc[source, "group"].to_numpy(str)
