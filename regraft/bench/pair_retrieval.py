"""Finding an image by what is written about it, and the text by the image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from regraft.backbones.heads.linear import unit_rows
from regraft.evaluation.bootstrap import accuracy_interval
from regraft.training.alignment import Alignment, Index, align
from regraft.transfer.fusion import Embedded, Floats

_MOST_PAIRS = 1000
_RANK = 64


def retrieval_rows(pairs: pd.DataFrame, embedded: Embedded, out: Path) -> list[dict[str, Any]]:
    """recall@5 among the test images, both ways, before and after alignment on at most 1,000
    training pairs; the indices that are searched are kept in `out`. What is written about an image
    is the mean of its texts' embeddings."""
    texts = pd.DataFrame(embedded.text).groupby(pairs["group"].to_numpy()).mean()
    first = pairs.reset_index(drop=True).drop_duplicates("group")
    whole = Embedded(embedded.image[first.index], unit_rows(texts.loc[first["group"]].to_numpy()))
    names = first["group"].to_numpy(str)
    train = np.flatnonzero(first["split"] == "train")[:_MOST_PAIRS]
    test = np.flatnonzero(first["split"] == "test")
    learned, asked = whole.rows(train), whole.rows(test)
    found = {"unaligned": _unaligned(learned), "aligned": align(learned, names[train].tolist())}
    rows = []
    for name, alignment in found.items():
        sides = {"image": alignment.images(asked.image), "text": alignment.texts(asked.text)}
        for one, other in (("text", "image"), ("image", "text")):
            file = out / f"{other}s_{name}.npz"
            Index(names[test].tolist(), sides[other]).save(file)
            rows.append(_row(f"retrieval {one} -> {other}, {name}", file, sides[one], names[test]))
    return rows


def _unaligned(pairs: Embedded) -> Alignment:
    """Both modalities projected onto as many of their own leading components: what there is before
    anything was learned from the pairs."""
    sides = []
    for features in (pairs.image, pairs.text):
        mean = features.mean(0)
        _, _, basis = np.linalg.svd(features - mean, full_matrices=False)
        sides += [mean, basis[:_RANK]]
    return Alignment(*sides)


def _row(cell: str, file: Path, queries: Floats, names: NDArray[Any]) -> dict[str, Any]:
    found = Index.load(file).search(queries, 5)
    hit = [
        name in {near for near, _ in nearest} for name, nearest in zip(names, found, strict=True)
    ]
    low, high = accuracy_interval(hit)
    shares = {"mean": float(np.mean(hit)), "low": low, "high": high}
    return {"cell": f"{cell} ({len(hit)})", "metric": "recall_at_5", **shares}
