"""Shift detection: labelled source, unlabelled target and test compared."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from regraft.data.manifest import in_order, read_manifest, statistics_in
from regraft.progress import note
from regraft.recipe.model import ShiftOptions
from regraft.steps.options import typed

_FEWEST_GROUPS = 8


def detect_shift_between_splits(
    *,
    manifest: str | Path,
    features: str | Path,
    options: dict[str, Any],
    target_domain: str,
    seed: int,
    out_dir: str | Path,
) -> bool:
    """Write shift.json and shift_evidently.html; return whether any comparison is shifted.

    `options` is the recipe's shift section.
    """
    from regraft.shift.verdict import summarise

    out, options = Path(out_dir), typed(ShiftOptions, options)
    out.mkdir(parents=True, exist_ok=True)
    archive = np.load(Path(features, "features.npz"))
    rows = in_order(read_manifest(Path(manifest)), archive["ids"])
    parts = _parts(rows, target_domain)
    reference = parts.pop("train")
    comparisons = [
        _compare(rows, archive["features"], reference, other, name, options, seed, out)
        for name, other in parts.items()
        if _comparable(rows, reference, other, name)
    ]
    verdict = {
        "comparisons": comparisons,
        "shifted": False,
        "reason": "too few examples to compare",
    }
    if comparisons:
        verdict |= summarise(comparisons)
    (out / "shift.json").write_text(json.dumps(verdict, indent=2), encoding="utf-8")
    return bool(verdict["shifted"])


def _comparable(rows: pd.DataFrame, reference: np.ndarray, current: np.ndarray, name: str) -> bool:
    sides = [rows.loc[mask, "group"].nunique() for mask in (reference, current)]
    if min(sides) < _FEWEST_GROUPS:
        note(
            f"train vs {name}: {sides[0]} and {sides[1]} independent examples are too few "
            "to compare"
        )
        return False
    return True


def _parts(rows: pd.DataFrame, target_domain: str) -> dict[str, np.ndarray]:
    """Masks over the rows: the labelled source, and what it is compared with."""
    split, target = rows["split"].to_numpy(), (rows["domain"] == target_domain).to_numpy()
    if not target_domain:
        return {"train": split == "train", "test": split == "test"}
    return {
        "train": (split == "train") & ~target,
        f"unlabelled {target_domain}": (split == "unlabelled") & target,
        f"{target_domain} test": (split == "test") & target,
        "source test": (split == "test") & ~target,
    }


def _compare(
    rows: pd.DataFrame,
    features: np.ndarray,
    reference: np.ndarray,
    current: np.ndarray,
    name: str,
    options: dict[str, Any],
    seed: int,
    out: Path,
) -> dict[str, Any]:
    from regraft.shift.verdict import detect_shift

    statistics = statistics_in(rows.columns)
    groups = [rows.loc[mask, "group"].to_numpy(str) for mask in (reference, current)]
    return detect_shift(
        features[reference],
        features[current],
        reference="train",
        current=name,
        reference_stats=rows.loc[reference, statistics],
        current_stats=rows.loc[current, statistics],
        groups=np.concatenate(groups),
        ids=rows.loc[current, "id"].tolist(),
        seed=seed,
        html=out / "shift_evidently.html",
        **options,
    )
