"""The steps called one after the other, as functions: each leaves what the next one reads."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from safetensors.torch import load_file

from regraft.data.examples.leaves import draw_leaf
from regraft.data.manifest import read_manifest
from regraft.errors import UserError
from regraft.steps.detect_shift import detect_shift_between_splits
from regraft.steps.distill import distill
from regraft.steps.evaluate import evaluate
from regraft.steps.extract_features import extract_features
from regraft.steps.finetune import finetune
from regraft.steps.validate_data import validate_data
from regraft.tasks import load_model

CLASSES = ["healthy", "powdery_mildew"]
TASK: dict[str, Any] = {"task": "image_classification"}
PLAN = {"kind": "gradual_unfreezing", "depths": [1], "epochs": [2]}
FINETUNE = {"plan": PLAN, "min_labels_per_class": 0, "threads": 1, "batch_size": 8}
VERSIONS = {"code_version": "c0de", "data_version": "sha256:da7a"}


@dataclass(frozen=True)
class Chain:
    """Folders of the steps."""

    root: Path

    def __getattr__(self, name: str) -> Path:
        return self.root / name

    @property
    def manifest(self) -> Path:
        return self.root / "data" / "manifest.parquet"


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    root = tmp_path_factory.mktemp("chain")
    for label in CLASSES:
        (root / "photos" / label).mkdir(parents=True)
        for index in range(28):
            picture = Image.fromarray(draw_leaf("lab", label, index))
            picture.save(root / "photos" / label / f"{index}.jpg", quality=90)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REGRAFT_HOME", str(root / "home"))
        yield run(Chain(root))


def run(chain: Chain) -> Chain:
    data = {"root": str(chain.photos)}
    validate_data(**TASK, data=data, seed=0, out_dir=chain.data)
    extract_features(
        **TASK, manifest=chain.manifest, backbone={"name": "starter"}, threads=1, seed=0,
        features={"views": 1, "augmented_views": 0}, out_dir=chain.features,
    )  # fmt: skip
    detect_shift_between_splits(
        manifest=chain.manifest, features=chain.features, options={}, target_domain="", seed=0,
        out_dir=chain.shift,
    )  # fmt: skip
    finetune(
        **TASK, manifest=chain.manifest, features=chain.features, options=FINETUNE, test_views=1,
        seed=0, code_version="c0de", out_dir=chain.teacher,
    )  # fmt: skip
    distill(
        **TASK, manifest=chain.manifest, features=chain.features, teacher=chain.teacher,
        options={"epochs": 1}, finetune=FINETUNE, threads=1, seed=0, code_version="c0de",
        out_dir=chain.student,
    )  # fmt: skip
    measure(chain, chain.measured, student=chain.student)
    return chain


def measure(chain: Chain, out: Path, *, student: Path | None) -> dict[str, Any]:
    return evaluate(
        **TASK, name="tiny", serve="student", manifest=chain.manifest, quality=chain.data,
        features=chain.features, shift=chain.shift, teacher=chain.teacher, student=student,
        options={"latency_images": 4}, domains={"source": "", "target": ""}, threads=1, seed=0,
        versions=VERSIONS, out_dir=out,
    )  # fmt: skip


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def test_features_follow_the_manifest(chain: Chain) -> None:
    rows = read_manifest(chain.manifest)
    archive = np.load(chain.features / "features.npz")
    used = rows[rows["split"] != "unused"]
    assert sorted(archive["ids"]) == sorted(used["id"])
    assert len(archive["features"]) == len(archive["averaged"]) == len(used)
    np.testing.assert_allclose(np.linalg.norm(archive["averaged"], axis=1), 1, rtol=1e-5)
    ranking = read(chain.features / "ranking.json")
    assert [row["backbone"] for row in ranking] == ["starter"]


def test_the_test_split_is_not_touched_before_the_evaluation(chain: Chain, tmp_path: Path) -> None:
    """Other labels on the test rows change no weight of the teacher."""
    rows = pd.read_parquet(chain.manifest)
    test = rows["split"] == "test"
    other = {CLASSES[0]: CLASSES[1], CLASSES[1]: CLASSES[0]}
    rows.loc[test, "label"] = rows.loc[test, "label"].map(other)
    changed = tmp_path / "manifest.parquet"
    rows.to_parquet(changed)
    finetune(
        **TASK, manifest=changed, features=chain.features, options=FINETUNE, test_views=1,
        seed=0, code_version="c0de", out_dir=tmp_path / "teacher",
    )  # fmt: skip
    expected = (chain.teacher / "model.safetensors").read_bytes()
    assert (tmp_path / "teacher" / "model.safetensors").read_bytes() == expected


def test_teacher_and_student_are_models_that_answer(chain: Chain) -> None:
    photo = str(next((chain.photos / CLASSES[0]).iterdir()))
    for folder in (chain.teacher, chain.student):
        (answer,) = load_model(folder).predict([photo])
        assert set(answer["probabilities"]) == set(CLASSES)
        assert read(folder / "history.json")["stages"]


def test_the_student_sees_smaller_pictures(chain: Chain) -> None:
    sizes = [
        read(folder / "model.json")["backbone"]["preprocessing"]["image_size"]
        for folder in (chain.teacher, chain.student)
    ]
    assert sizes[1] < sizes[0]


def test_the_evaluation_has_scores_and_predictions_of_everyone(chain: Chain) -> None:
    metrics = read(chain.measured / "metrics.json")
    rows = read_manifest(chain.manifest)
    n_test = int((rows["split"] == "test").sum())
    for found in (metrics["teacher"], metrics["student"], *metrics["baselines"].values()):
        assert found["test"]["count"] == n_test
    predictions = pd.read_parquet(chain.measured / "predictions.parquet")
    assert len(predictions) == n_test
    right = (predictions["predicted"] == predictions["label"]).mean()
    assert right == pytest.approx(metrics["student"]["test"]["accuracy"], abs=1e-4)
    for who in ("teacher", "student"):
        columns = [f"{who}:{label}" for label in CLASSES]
        np.testing.assert_allclose(predictions[columns].sum(axis=1), 1, atol=1e-5)
    html = (chain.measured / "report.html").read_text(encoding="utf-8")
    assert "c0de" in html


def test_the_reference_is_what_the_served_model_makes_of_its_examples(chain: Chain) -> None:
    rows = read_manifest(chain.manifest)
    found = pd.read_parquet(chain.measured / "reference" / "reference.parquet")
    embeddings = np.load(chain.measured / "reference" / "embeddings.npy")
    expected = rows[rows["split"].isin(["train", "val", "test", "unlabelled"])]
    assert found["id"].tolist() == expected["id"].tolist()
    assert embeddings.shape[0] == len(found)
    assert embeddings.dtype == np.float16
    assert {f"p:{label}" for label in CLASSES} <= set(found)
    assert found[["stat_width", "stat_sharpness"]].notna().all(axis=None)
    some = found.index[::7]
    student = load_model(chain.student)
    answers, own = student.answer(found["path"][some].tolist())
    assert [answer["label"] for answer in answers] == found["predicted"][some].tolist()
    np.testing.assert_allclose(embeddings[some], own, rtol=2e-3, atol=2e-3)
    described = [student.describe(path)["brightness"] for path in found["path"][some]]
    assert found["stat_brightness"][some].tolist() == described


def test_the_reference_and_the_predictions_tell_the_same_of_the_test_split(chain: Chain) -> None:
    found = pd.read_parquet(chain.measured / "reference" / "reference.parquet").set_index("id")
    predictions = pd.read_parquet(chain.measured / "predictions.parquet")
    same = found.loc[predictions["id"]]
    assert same["predicted"].tolist() == predictions["predicted"].tolist()
    np.testing.assert_allclose(same["confidence"], predictions["confidence"], atol=1e-5)


def test_without_a_student_the_teacher_is_evaluated_alone(chain: Chain, tmp_path: Path) -> None:
    metrics = measure(chain, tmp_path / "measured", student=None)
    assert "student" not in metrics
    assert (tmp_path / "measured" / "report.html").is_file()


def test_too_few_labels_leave_the_probe_as_the_model(chain: Chain, tmp_path: Path) -> None:
    options = FINETUNE | {"min_labels_per_class": 1000}
    finetune(
        **TASK, manifest=chain.manifest, features=chain.features, options=options, test_views=1,
        seed=0, code_version="c0de", out_dir=tmp_path,
    )  # fmt: skip
    assert read(tmp_path / "history.json")["chosen"]["stage"] == "probe"
    head = np.load(chain.features / "probe.npz")
    model = load_model(tmp_path).model  # type: ignore[attr-defined]
    np.testing.assert_array_equal(
        model.head.weight.detach().numpy(), head["weight"].astype(np.float32)
    )


def test_nothing_is_left_in_the_home(chain: Chain) -> None:
    left = [path for path in (chain.home / "work").iterdir() if path.suffix != ".lock"]
    assert left == []


@pytest.mark.parametrize(
    "changes",
    [
        {"plan": {"kind": "lora", "rank": 2, "blocks": 1, "epochs": 1}},
        {"plan": {"kind": "surgical", "epochs": 1}},
        {"plan": {"kind": "scratch", "epochs": 1}},
        {"sampling": {"kind": "curriculum"}, "averaging": [{"kind": "ema"}]},
        {"objectives": [{"kind": "l2_sp"}, {"kind": "lwf", "strength": 0}], "dropout": 0.1},
        {"cache_gb": 0, "cutmix_alpha": 1.0, "accumulation_steps": 2, "clip_value": 0.1},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_the_recipe_reaches_every_port(
    chain: Chain, changes: dict[str, Any], tmp_path: Path
) -> None:
    """Each is another model than the plain one, and is saved as plainly."""
    options = FINETUNE | {"plan": PLAN | {"epochs": [1]}} | changes
    finetune(
        **TASK, manifest=chain.manifest, features=chain.features, options=options, test_views=1,
        seed=0, code_version="c0de", out_dir=tmp_path,
    )  # fmt: skip
    history = read(tmp_path / "history.json")["stages"]
    assert len(history) == 2
    assert ("l2_sp" in history[1]["epochs"][0].get("losses", {})) == ("objectives" in changes)
    names = [set(load_file(folder / "model.safetensors")) for folder in (tmp_path, chain.teacher)]
    assert names[0] == names[1]


def test_a_target_domain_without_unlabelled_rows_is_said(chain: Chain, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="dann needs unlabelled"):
        finetune(
            **TASK, manifest=chain.manifest, features=chain.features,
            options=FINETUNE | {"objectives": [{"kind": "dann"}]}, test_views=1, seed=0,
            code_version="c0de", out_dir=tmp_path,
        )  # fmt: skip


def test_unlabelled_rows_are_read_by_the_terms_that_need_them(chain: Chain, tmp_path: Path) -> None:
    rows = pd.read_parquet(chain.manifest)
    rows.loc[rows["split"] == "test", ["split", "label"]] = ["unlabelled", None]
    rows.to_parquet(tmp_path / "manifest.parquet")
    finetune(
        **TASK, manifest=tmp_path / "manifest.parquet", features=chain.features,
        options=FINETUNE | {"objectives": [{"kind": "mmd"}]}, test_views=1, seed=0,
        code_version="c0de", out_dir=tmp_path / "teacher",
    )  # fmt: skip
    epoch = read(tmp_path / "teacher" / "history.json")["stages"][1]["epochs"][0]
    assert epoch["losses"]["mmd"] != 0
