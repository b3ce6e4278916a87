"""Two labelled columns of one table, from photos to metrics: a leaf's health and where it is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from regraft.data.examples.leaves import draw_leaf
from regraft.data.manifest import read_manifest
from regraft.errors import UserError
from regraft.steps.auxiliary_tasks import calibrate_tasks
from regraft.steps.detect_shift import detect_shift_between_splits
from regraft.steps.distill import distill
from regraft.steps.evaluate import evaluate
from regraft.steps.extract_features import extract_features
from regraft.steps.finetune import finetune
from regraft.steps.validate_data import validate_data
from regraft.tasks import load_model
from regraft.training.examples import Split

TASK: dict[str, Any] = {"task": "image_classification"}
CLASSES, PLACES = ["healthy", "powdery_mildew"], ["field", "lab"]
FINETUNE: dict[str, Any] = {
    "plan": {"kind": "gradual_unfreezing", "depths": [1], "epochs": [2]},
    "min_labels_per_class": 0, "threads": 1, "batch_size": 8,
}  # fmt: skip


@dataclass(frozen=True)
class Prepared:
    root: Path

    def __getattr__(self, name: str) -> Path:
        return self.root / name

    @property
    def manifest(self) -> Path:
        return self.root / "data" / "manifest.parquet"

    def learned(self, out: Path, features: Path | None = None, **options: Any) -> Path:
        finetune(
            **TASK, manifest=self.manifest, features=features or self.features, seed=0,
            options=FINETUNE | options, test_views=1, code_version="c0de", out_dir=out,
        )  # fmt: skip
        return out


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prepared]:
    """Every seventh photo does not say where it was taken."""
    root = tmp_path_factory.mktemp("tasks")
    rows = []
    for label in CLASSES:
        for index in range(28):
            place = PLACES[index % 2]
            name = f"{label}-{index}.jpg"
            Image.fromarray(draw_leaf(place, label, index)).save(root / name, quality=90)
            rows.append({"path": name, "label": label, "place": "" if index % 7 == 3 else place})
    pd.DataFrame(rows).to_csv(root / "photos.csv", index=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REGRAFT_HOME", str(root / "home"))
        found = Prepared(root)
        data = {"root": str(root / "photos.csv"), "auxiliary_labels": ["place"]}
        validate_data(**TASK, data=data, seed=0, out_dir=found.data)
        extracted(found, found.features)
        found.learned(found.teacher)
        yield found


def extracted(prepared: Prepared, out: Path, **features: Any) -> Path:
    extract_features(
        **TASK, manifest=prepared.manifest, backbone={"name": "starter"}, threads=1, seed=0,
        features={"views": 1, "augmented_views": 0} | features, out_dir=out,
    )  # fmt: skip
    return out


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def test_both_labels_are_learned_by_one_model(prepared: Prepared) -> None:
    model = load_model(prepared.teacher)
    test = read_manifest(prepared.manifest).query("split == 'test'")
    answers = model.predict(test["path"].tolist())
    known = test["label:place"].notna().to_numpy()
    assert not known.all()
    told = np.array([answer["tasks"]["place"]["label"] for answer in answers])
    assert (told == test["label:place"])[known].mean() >= 0.9
    assert set(answers[0]["probabilities"]) == set(CLASSES)
    card = read(prepared.teacher / "model.json")
    assert card["auxiliary"] == {"place": PLACES}
    epochs = read(prepared.teacher / "history.json")["stages"][1]["epochs"]
    assert set(epochs[0]["losses"]) == {"label", "label:place"}
    assert epochs[0]["val_accuracy:place"] > 0.5


def test_each_task_has_a_temperature_of_its_own() -> None:
    """Logits of 5 for answers of which a quarter is wrong, and a task without labels."""
    rows = pd.DataFrame({"path": "x", "label": "a", "label:place": ["lab", "field"] * 100})
    rows["label:other"] = None
    logits = np.zeros((200, 6), np.float32)
    logits[np.arange(200), 2 + (np.arange(200) % 8 == 0)] = 5.0  # said to be lab in 7 of 8
    logits[1::2] = [0, 0, 0, 5, 0, 0]
    predictor = SimpleNamespace(rows=lambda paths: logits)
    model = SimpleNamespace(
        auxiliary={"place": ["lab", "field"], "other": ["u", "v"]},
        auxiliary_columns={"place": slice(2, 4), "other": slice(4, 6)},
        auxiliary_temperatures={"place": 1.0, "other": 1.0},
    )
    validation = Split(rows, np.zeros(200, dtype=int), 1)
    calibrate_tasks(SimpleNamespace(predictor=lambda model: predictor), model, validation)
    right = 1 - np.mean(np.arange(200) % 8 == 0)
    assert model.auxiliary_temperatures["place"] == pytest.approx(
        5 / np.log(right / (1 - right)), rel=0.05
    )
    assert model.auxiliary_temperatures["other"] == 1.0


def test_it_begins_with_a_probe_of_each(prepared: Prepared, tmp_path: Path) -> None:
    prepared.learned(tmp_path, plan={"kind": "head_only"}, min_labels_per_class=1000)
    rows = weights(tmp_path)["head.weight"].numpy()
    both = [np.load(prepared.features / f"{name}.npz") for name in ("probe", "auxiliary")]
    expected = np.concatenate([one["weight"] for one in both]).astype(np.float32)
    np.testing.assert_array_equal(rows, expected)


def test_weight_0_is_learning_the_label_alone_bit_for_bit(
    prepared: Prepared, tmp_path: Path
) -> None:
    found = prepared.learned(tmp_path / "zero", auxiliary_weight=0)
    rows = pd.read_parquet(prepared.manifest).drop(columns="label:place")
    alone = Prepared(tmp_path / "alone")
    alone.data.mkdir(parents=True)
    rows.to_parquet(alone.manifest)
    extracted(alone, alone.features)
    assert not (alone.features / "auxiliary.npz").exists()
    alone.learned(alone.teacher)
    expected = (alone.teacher / "model.safetensors").read_bytes()
    assert (found / "model.safetensors").read_bytes() == expected
    both = weights(prepared.teacher)
    assert any(not torch.equal(both[k], v) for k, v in weights(found).items() if "encoder" in k)


@pytest.mark.parametrize(
    "changes",
    [
        {"gradients": {"kind": "pcgrad"}},
        {"gradients": {"kind": "gradnorm"}},
        {"gradients": {"kind": "uncertainty", "learning_rate": 0.5}},
        {"auxiliary_weight": 0.1},
    ],
    ids=lambda changes: str(next(iter(changes.values()))),
)
def test_how_the_tasks_are_balanced_changes_what_is_learned(
    prepared: Prepared, changes: dict[str, Any], tmp_path: Path
) -> None:
    before, after = weights(prepared.teacher), weights(prepared.learned(tmp_path, **changes))
    assert before.keys() == after.keys()
    moved = [k for k in before if "encoder" in k and not torch.equal(before[k], after[k])]
    assert moved


@pytest.mark.parametrize("kind", ["ewc", "lwf"])
def test_objectives_that_compare_answers_are_refused(
    prepared: Prepared, kind: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=f"{kind} knows the answers to one task only"):
        prepared.learned(tmp_path, objectives=[{"kind": kind}])
    prepared.learned(
        tmp_path, objectives=[{"kind": kind, "strength": 0}], plan={"kind": "head_only"}
    )


def test_objectives_on_weights_compose(prepared: Prepared, tmp_path: Path) -> None:
    prepared.learned(tmp_path, objectives=[{"kind": "l2_sp"}], mixup_alpha=0.2)
    losses = read(tmp_path / "history.json")["stages"][1]["epochs"][0]["losses"]
    assert list(losses) == ["label", "label:place", "l2_sp"]


def test_a_cache_model_is_refused(prepared: Prepared, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cache model answers one task"):
        extracted(prepared, tmp_path, head="cache_model")


def test_every_task_is_measured_and_the_student_answers_the_label(prepared: Prepared) -> None:
    student = prepared.root / "student"
    distill(
        **TASK, manifest=prepared.manifest, features=prepared.features, teacher=prepared.teacher,
        options={"epochs": 1}, finetune=FINETUNE, threads=1, seed=0, code_version="c0de",
        out_dir=student,
    )  # fmt: skip
    detect_shift_between_splits(
        manifest=prepared.manifest, features=prepared.features, options={}, target_domain="",
        seed=0, out_dir=prepared.shift,
    )  # fmt: skip
    out = prepared.root / "measured"
    metrics = evaluate(
        **TASK, name="tiny", serve="teacher", manifest=prepared.manifest, quality=prepared.data,
        features=prepared.features, shift=prepared.shift, teacher=prepared.teacher,
        student=student, options={"latency_images": 4}, domains={"source": "", "target": ""},
        threads=1, seed=0, versions={"code_version": "c0de", "data_version": "x"}, out_dir=out,
    )  # fmt: skip
    test = read_manifest(prepared.manifest).query("split == 'test'")
    for found in (metrics["teacher"], metrics["baselines"]["probe"]):
        place = found["tasks"]["place"]
        assert place["count"] == test["label:place"].notna().sum() < found["test"]["count"]
        assert place["accuracy"] >= 0.8
        assert place["interval"]["accuracy"][0] <= place["accuracy"]
        assert [row["class"] for row in place["per_class"]] == PLACES
    assert "tasks" not in metrics["student"]
    photo = test["path"].iloc[0]
    assert "tasks" not in load_model(student).predict([photo])[0]
    rows = read(out / "content.json")["results"]["rows"]
    assert {row["key"] for row in rows if row["split"] == "task place"} == {"teacher", "probe"}
    assert "task place" in (out / "report.html").read_text(encoding="utf-8")
