"""A model of the source, trained further on the target's labels alone: how much it forgets."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from regraft.bench.methods.recipe import scores
from regraft.bench.prepared import Prepared
from regraft.data.manifest import in_order, write_manifest
from regraft.steps.finetune import finetune
from regraft.training.probe import fit_probe


def measure(prepared: Prepared) -> dict[str, Any]:
    """{"before": metrics of the source's model, "naive": of the one trained further}."""
    target = prepared.rows["domain"] == prepared.recipe.data.target_domain
    features = _source_features(prepared, target)
    labelled = prepared.rows["split"].isin(["train", "val"])
    alone = prepared.rows[~labelled | (target & (prepared.rows["split"] == "train"))]
    plan = prepared.values["finetune"]["plan"]
    folders = {
        "before": _trained(prepared, prepared.rows, features, {"kind": "head_only"}, "before"),
        "naive": _trained(prepared, alone, features, plan, "naive"),
    }
    return {name: scores(prepared, folder) for name, folder in folders.items()}


def _source_features(prepared: Prepared, target: pd.Series) -> Path:
    """As the feature extraction left them, with a head of the source's labels alone."""
    folder = prepared.own / "features"
    shutil.copytree(prepared.features, folder)
    archive = np.load(folder / "features.npz")
    known = prepared.rows.assign(
        split=prepared.rows["split"].mask(
            target & (prepared.rows["split"] == "train"), "unlabelled"
        )
    )
    rows = in_order(known, archive["ids"])
    probe = fit_probe(rows, archive["averaged"], seed=prepared.recipe.seed)
    np.savez(folder / "probe.npz", **probe.head.arrays())
    (folder / "probe.json").write_text(json.dumps(probe.summary()), encoding="utf-8")
    return folder


def _trained(
    prepared: Prepared, rows: pd.DataFrame, features: Path, plan: dict[str, Any], name: str
) -> Path:
    recipe, out = prepared.recipe, prepared.own / name
    write_manifest(rows, prepared.own / f"{name}.parquet")
    options = prepared.values["finetune"]
    # nothing may spare the training: neither few labels, nor a head that is right in the source
    options = options | {
        "plan": plan,
        "min_labels_per_class": 0,
        "probe_is_enough": 1.0,
        "adaptation": options["adaptation"] | {"semi_supervised": "off"},
    }
    with prepared.timed("finetune"):
        finetune(
            task=recipe.task, manifest=prepared.own / f"{name}.parquet", features=features,
            options=options, test_views=recipe.features.views, seed=recipe.seed,
            code_version="bench", out_dir=out,
        )  # fmt: skip
    return out
