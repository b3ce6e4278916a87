"""Crop and disease of the same photos, learned alone or together: two labels in two columns.

The classes are called <crop>_<disease>. The split is that of these classes, so that every crop and
every disease has its photos and all cells have the same; then the two parts take their place.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from regraft.bench.prepared import Prepared
from regraft.data.auxiliary import PREFIX
from regraft.data.manifest import in_order, write_manifest
from regraft.steps.finetune import finetune
from regraft.steps.measuring import answers_of, metrics_of, task_metrics
from regraft.steps.probes import write_probes
from regraft.tasks import load_model


def measure(prepared: Prepared, *, label: str, beside: str = "") -> dict[str, Any]:
    """{`label`: metrics, `beside`: metrics} on the test split; each is `crop` or `disease`."""
    rows = with_parts(prepared.rows, label, beside)
    model = load_model(_trained(prepared, rows))
    test = rows[rows["split"] == "test"].reset_index(drop=True)
    found = answers_of(model, test)
    seed = prepared.recipe.seed
    figures = metrics_of(test, found.probabilities, model.classes, {}, seed)["test"]
    tasks: dict[str, list[str]] = model.model.auxiliary  # type: ignore[attr-defined]
    return {label: figures, **task_metrics(test, found.tasks, tasks, seed)}


def with_parts(rows: pd.DataFrame, label: str, beside: str) -> pd.DataFrame:
    """The rows of a manifest with one part of the class as label and another as a task."""
    parts = rows["label"].str.partition("_")
    named = {"crop": parts[0], "disease": parts[2]}
    further = {PREFIX + beside: named[beside]} if beside else {}
    return rows.assign(label=named[label], **further)


def _trained(prepared: Prepared, rows: pd.DataFrame) -> Path:
    recipe, own = prepared.recipe, prepared.own
    manifest, features, out = own / "manifest.parquet", own / "features", own / "teacher"
    shutil.copytree(prepared.features, features)
    write_manifest(rows, manifest)
    archive = np.load(features / "features.npz")
    known = in_order(rows, archive["ids"])
    augmented, kind = prepared.augmented, recipe.features.head
    with prepared.timed("finetune"):
        write_probes(
            known, archive["averaged"], augmented, kind=kind, seed=recipe.seed, out=features
        )
        finetune(
            task=recipe.task, manifest=manifest, features=features,
            options=prepared.values["finetune"], test_views=recipe.features.views,
            seed=recipe.seed, code_version="bench", out_dir=out,
        )  # fmt: skip
    return out
