"""Blocks that move for an unlabelled target: it chooses the epoch, by what will be served."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from regraft.data.examples.leaves import draw_leaf
from regraft.data.manifest import files_of, read_manifest
from regraft.recipe.adaptation import AdaptationOptions
from regraft.steps.detect_shift import detect_shift_between_splits
from regraft.steps.extract_features import extract_features
from regraft.steps.finetune import finetune
from regraft.steps.validate_data import validate_data
from regraft.tasks import load_model

CLASSES = ["healthy", "powdery_mildew"]
TASK: dict[str, Any] = {"task": "image_classification"}
OPTIONS: dict[str, Any] = {
    "plan": {"kind": "last_n", "blocks": 2, "epochs": 3},
    "optimiser": {"learning_rate": 1e-3, "head_learning_rate": 1e-3},
    "adaptation": {"kind": "source_only", "when": "always"},
    "threads": 1,
    "batch_size": 8,
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data, features and shift of leaves of the lab and, unlabelled, of the field."""
    root = tmp_path_factory.mktemp("aligning")
    for domain in ("lab", "field"):
        for label in CLASSES:
            folder = root / "photos" / domain / label
            folder.mkdir(parents=True)
            for index in range(32 if domain == "lab" else 16):
                Image.fromarray(draw_leaf(domain, label, index)).save(folder / f"{index}.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REGRAFT_HOME", str(root / "home"))
        data = {
            "root": str(root / "photos"),
            "source_domain": "lab",
            "target_domain": "field",
            "target_labels_per_class": 0,
            "validation_fraction": 0.3,
        }
        validate_data(**TASK, data=data, seed=0, out_dir=root / "data")
        manifest = root / "data" / "manifest.parquet"
        extract_features(
            **TASK, manifest=manifest, backbone={"name": "starter"}, threads=1, seed=0,
            features={"views": 2, "augmented_views": 0}, out_dir=root / "features",
        )  # fmt: skip
        detect_shift_between_splits(
            manifest=manifest, features=root / "features", options={}, target_domain="field",
            seed=0, out_dir=root / "shift",
        )  # fmt: skip
    return root


def tuned(root: Path, monkeypatch: pytest.MonkeyPatch, name: str, **changes: Any) -> dict[str, Any]:
    monkeypatch.setenv("REGRAFT_HOME", str(root / "home"))
    finetune(
        **TASK, manifest=root / "data" / "manifest.parquet", features=root / "features",
        options=OPTIONS | changes, test_views=2, seed=0, code_version="c0de",
        out_dir=root / name, shift=root / "shift",
    )  # fmt: skip
    history: dict[str, Any] = json.loads((root / name / "history.json").read_text())
    return history


def test_the_target_chooses_among_epochs_that_did_not_forget(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    history = tuned(root, monkeypatch, "mmd", objectives=[{"kind": "mmd"}])
    epochs = {(stage["name"], one["epoch"]): one
              for stage in history["stages"] for one in stage["epochs"]}  # fmt: skip
    assert len(epochs) == 4 and history["chosen"]["by"] == "target_score"
    drop = AdaptationOptions().max_source_drop_pp / 100
    floor = epochs["probe", 0]["val_accuracy"] - drop
    allowed = {key: one for key, one in epochs.items() if one["val_accuracy"] >= floor}
    best = max(allowed, key=lambda key: allowed[key]["target_score"])
    assert (history["chosen"]["stage"], history["chosen"]["epoch"]) == best

    manifest = read_manifest(root / "data" / "manifest.parquet")
    validation = manifest[manifest["split"] == "val"]
    answers = load_model(root / "mmd").predict(files_of(validation))
    right = np.mean([one["label"] for one in answers] == validation["label"].to_numpy())
    assert abs(right - epochs[best]["val_accuracy"]) <= 1.01 / len(validation)


def test_without_terms_that_read_the_target_the_adapted_head_is_the_model(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert tuned(root, monkeypatch, "plain")["stages"] == []
