"""Finding an image by what is written about it, and the text by the image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from regraft.backbones.heads.linear import unit_rows
from regraft.evaluation.bootstrap import accuracy_interval
from regraft.shift.cross_validation import assign_folds, fold_numbers
from regraft.training.alignment import Alignment, Index, align
from regraft.transfer.fusion import Embedded

_MOST_PAIRS = 1000
_RANK = 64
_PARTS = 4
_FEWEST_TO_HOLD_OUT = 40


def retrieval_rows(pairs: pd.DataFrame, embedded: Embedded, out: Path) -> list[dict[str, Any]]:
    """recall@5 among the test images, both ways, before and after alignment on at most 1,000
    training pairs; the indices that are searched are kept in `out`. What is written about an image
    is the mean of its texts' embeddings. The same among training images that an alignment of the
    others had not seen, in four parts: the test images are few."""
    texts = pd.DataFrame(embedded.text).groupby(pairs["group"].to_numpy()).mean()
    first = pairs.reset_index(drop=True).drop_duplicates("group")
    whole = Embedded(embedded.image[first.index], unit_rows(texts.loc[first["group"]].to_numpy()))
    names = first["group"].to_numpy(str)
    train = np.flatnonzero(first["split"] == "train")[:_MOST_PAIRS]
    test = np.flatnonzero(first["split"] == "test")
    learned = whole.rows(train)
    hits = _hits(learned, names[train], whole.rows(test), names[test], out)
    rows = [_row(f"retrieval {cell}", hit) for cell, hit in hits.items()]
    if len(train) < _FEWEST_TO_HOLD_OUT:
        return rows
    folds = assign_folds(np.zeros(len(train)), names[train], folds=_PARTS)
    parts = [
        _hits(learned.rows(~own), names[train][~own], learned.rows(own), names[train][own])
        for own in (folds == fold for fold in fold_numbers(folds))
    ]
    return rows + [
        _row(f"retrieval {cell}, held-out training", [hit for part in parts for hit in part[cell]])
        for cell in hits
    ]


def _hits(
    learned: Embedded,
    known: NDArray[Any],
    asked: Embedded,
    names: NDArray[Any],
    out: Path | None = None,
) -> dict[str, list[bool]]:
    """{way and alignment: whether the other side of each asked pair is among the first five}."""
    found: dict[str, list[bool]] = {}
    alignments = {"unaligned": _unaligned(learned), "aligned": align(learned, known.tolist())}
    for name, alignment in alignments.items():
        sides = {"image": alignment.images(asked.image), "text": alignment.texts(asked.text)}
        for one, other in (("text", "image"), ("image", "text")):
            index = Index(names.tolist(), sides[other])
            if out:
                file = out / f"{other}s_{name}.npz"
                index.save(file)
                index = Index.load(file)
            nearest = index.search(sides[one], 5)
            found[f"{one} -> {other}, {name}"] = [
                own in {near for near, _ in row} for own, row in zip(names, nearest, strict=True)
            ]
    return found


def _unaligned(pairs: Embedded) -> Alignment:
    """Both modalities projected onto as many of their own leading components: what there is before
    anything was learned from the pairs."""
    sides = []
    for features in (pairs.image, pairs.text):
        mean = features.mean(0)
        _, _, basis = np.linalg.svd(features - mean, full_matrices=False)
        sides += [mean, basis[:_RANK]]
    return Alignment(*sides)


def _row(cell: str, hit: list[bool]) -> dict[str, Any]:
    low, high = accuracy_interval(hit)
    shares = {"mean": float(np.mean(hit)), "low": low, "high": high}
    return {"cell": f"{cell} ({len(hit)})", "metric": "recall_at_5", **shares}
