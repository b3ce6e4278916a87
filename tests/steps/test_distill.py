"""Distillation as a step: who is taught, by whom, with what, and what comes out."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from regraft.data.examples.leaves import draw_leaf
from regraft.data.manifest import read_manifest, write_manifest
from regraft.recipe.distillation import StudentOptions
from regraft.steps.distill import distill
from regraft.steps.extract_features import extract_features
from regraft.steps.finetune import finetune
from regraft.steps.options import typed
from regraft.steps.teachers import Teachers
from regraft.tasks import image_classification as task
from regraft.tasks.image_classification import _cheaper_size

CLASSES = ["healthy", "powdery_mildew", "rust"]
PHOTOS = {"train": 8, "val": 4, "unlabelled": 14}
TASK: dict[str, Any] = {"task": "image_classification"}
BACKBONE = {"name": "test_efficientnet", "weights": "random", "image_size": 64}
OTHER = {"name": "test_resnet", "weights": "random", "image_size": 64}
PLAN = {"kind": "last_n", "blocks": 1, "epochs": 1}
FINETUNE = {"plan": PLAN, "min_labels_per_class": 0, "threads": 1, "batch_size": 8, "cache_gb": 0}
VIEWS = {"cached_views": 2}
Distil = Callable[..., Path]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Photos, features and a teacher; lab photos have labels, field photos none."""
    root = tmp_path_factory.mktemp("distill")
    write_manifest(pd.DataFrame(photographed(root / "photos")), root / "all.parquet")
    rows = read_manifest(root / "all.parquet")
    write_manifest(rows[rows["split"] != "unlabelled"], root / "lab.parquet")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REGRAFT_HOME", str(root / "home"))
        torch.manual_seed(0)
        extract_features(
            **TASK, manifest=root / "lab.parquet", backbone=BACKBONE, threads=1, seed=0,
            features={"views": 1, "augmented_views": 0}, out_dir=root / "features",
        )  # fmt: skip
        finetune(
            **TASK, manifest=root / "lab.parquet", features=root / "features", options=FINETUNE,
            test_views=1, seed=0, code_version="c0de", out_dir=root / "teacher",
        )  # fmt: skip
        yield root


def photographed(folder: Path) -> Iterator[dict[str, Any]]:
    folder.mkdir()
    for split, count in PHOTOS.items():
        domain = "field" if split == "unlabelled" else "lab"
        for label in CLASSES:
            for index in range(count):
                name = f"{split}-{label}-{index}"
                picture = Image.fromarray(draw_leaf(domain, label, index, size=64))
                picture.save(folder / f"{name}.png")
                yield {
                    "id": name, "path": str(folder / f"{name}.png"), "domain": domain,
                    "label": None if domain == "field" else label, "group": name, "split": split,
                    "size": 1, "sha256": name, "perceptual_hash": "", "quality_flags": "",
                    "width": 64, "height": 64, "brightness": 0.5,
                }  # fmt: skip


@pytest.fixture(scope="module")
def distil(root: Path) -> Distil:
    def run(out: Path, manifest: str = "lab.parquet", **options: Any) -> Path:
        distill(
            **TASK, manifest=root / manifest, features=root / "features", teacher=root / "teacher",
            options={"epochs": 1, "augmentation": VIEWS, **options}, finetune=FINETUNE, threads=1,
            seed=0, code_version="c0de", out_dir=out,
        )  # fmt: skip
        return out

    return run


@pytest.fixture(scope="module")
def plain(distil: Distil, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return distil(tmp_path_factory.mktemp("plain"))


def weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


def probabilities(folder: Path, rows: pd.DataFrame) -> np.ndarray:
    return task.load(folder).probabilities(rows["path"].tolist())


def stages(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((folder / "history.json").read_text())["stages"]
    return found


def test_a_student_of_another_architecture_answers_as_the_teacher(
    root: Path, distil: Distil, tmp_path: Path
) -> None:
    rows = read_manifest(root / "lab.parquet")
    student = distil(tmp_path, student=OTHER)
    said, meant = (probabilities(folder, rows) for folder in (student, root / "teacher"))
    assert (said.argmax(1) == meant.argmax(1)).mean() > 0.8
    card = json.loads((student / "model.json").read_text())
    assert card["backbone"]["architecture"] == "test_resnet"


@pytest.mark.parametrize(("dynamic", "expected"), [(True, 32), (False, 160)])
def test_a_student_sees_smaller_pictures_where_it_can(
    dynamic: bool, expected: int, root: Path
) -> None:
    teacher = task.load_model(root / "teacher")
    arguments = {"dynamic_img_size": dynamic}
    values = {"name": "test_vit", "weights": "random", "model_args": arguments}
    options = typed(StudentOptions, values)
    encoder = task.student_encoder(teacher.encoder, options)
    student = task.new_model(encoder, teacher.classes, test_views=1)
    assert student.encoder.spec.preprocessing.image_size == expected
    assert student.averaged_logits(torch.zeros(1, 3, expected, expected)).shape == (1, 3)


@pytest.mark.parametrize(
    ("size", "own", "other"), [(224, 160, 192), (288, 192, 224), (64, 32, 32), (32, 32, 32)]
)
def test_another_architecture_keeps_more_of_the_side(size: int, own: int, other: int) -> None:
    assert _cheaper_size(size, other=False) == own
    assert _cheaper_size(size, other=True) == other


def test_the_head_answers_before_the_first_epoch(distil: Distil, tmp_path: Path) -> None:
    """Random numbers in its place would be right in a third of the cases."""
    start = stages(distil(tmp_path, student=OTHER))[0]
    assert start["name"] == "probe"
    assert start["epochs"][0]["val_accuracy"] > 0.6


def test_with_nothing_to_choose_by_only_the_head_is_new(
    root: Path, distil: Distil, tmp_path: Path
) -> None:
    rows = read_manifest(root / "lab.parquet")
    write_manifest(rows[rows["split"] == "train"], root / "few.parquet")
    student, teacher = (
        task.load_model(folder).state_dict()
        for folder in (distil(tmp_path, "few.parquet"), root / "teacher")
    )
    changed = {name for name in teacher if not torch.equal(student[name], teacher[name])}
    assert changed == {"head.weight", "head.bias"}


def test_unlabelled_photos_are_learned_from_the_teacher(
    root: Path, distil: Distil, plain: Path, tmp_path: Path
) -> None:
    rows = read_manifest(root / "all.parquet")
    field = rows[rows["split"] == "unlabelled"]
    meant = probabilities(root / "teacher", field)
    with_field = distil(tmp_path, "all.parquet")

    def disagreement(student: Path) -> float:
        return float(-(meant * np.log(probabilities(student, field))).sum(1).mean())

    assert disagreement(with_field) < disagreement(plain)


def test_labels_of_unlabelled_photos_are_never_read(
    root: Path, distil: Distil, tmp_path: Path
) -> None:
    rows = read_manifest(root / "all.parquet")
    hidden = rows["split"] == "unlabelled"
    rows.loc[hidden, "label"] = CLASSES[0]
    write_manifest(rows, root / "told.parquet")
    found = [weights(distil(tmp_path / one, f"{one}.parquet")) for one in ("all", "told")]
    assert found[0] == found[1]


def test_a_hint_of_strength_zero_is_no_hint(distil: Distil, plain: Path, tmp_path: Path) -> None:
    assert weights(distil(tmp_path, hint={"strength": 0.0, "rank": 4})) == weights(plain)
    assert "losses" not in stages(plain)[1]["epochs"][0]


def test_a_hint_teaches_across_widths(distil: Distil, tmp_path: Path) -> None:
    plain, hinted = (
        stages(
            distil(tmp_path / str(strength), student=OTHER, epochs=3, hint={"strength": strength})
        )
        for strength in (0.0, 5.0)
    )
    hints = [epoch["losses"]["feature_hint"] for epoch in hinted[1]["epochs"]]
    assert hints[-1] < hints[0]
    answers = [epoch["losses"]["label"] for epoch in hinted[1]["epochs"]]
    assert answers[0] == plain[1]["epochs"][0]["train_loss"], "one step an epoch: the same start"
    assert answers[1] != plain[1]["epochs"][1]["train_loss"], "and another way from there"


@pytest.mark.parametrize("variant", ["decoupled", "standardised"])
def test_a_variant_of_the_answers_reaches_the_loss(
    variant: str, distil: Distil, plain: Path, tmp_path: Path
) -> None:
    found, usual = stages(distil(tmp_path, answers={"variant": variant})), stages(plain)
    assert found[0] == usual[0], "the same start"
    taught, plainly = (one[1]["epochs"][0]["train_loss"] for one in (found, usual))
    assert taught != plainly


def test_an_ensemble_is_the_same_fine_tuning_from_other_seeds(
    root: Path, distil: Distil, plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    def listening(self: Teachers, *args: Any) -> np.ndarray:
        seen.append(len({one.head.weight.sum().item() for one in self.models}))
        return asked(self, *args)

    asked = Teachers.answers
    monkeypatch.setattr(Teachers, "answers", listening)
    student = distil(tmp_path, ensemble_seeds=[1, 2])
    assert seen[0] >= 2, "a teacher may keep the probe, but not all of them"
    assert weights(student) != weights(plain)


def test_several_teachers_answer_with_their_mean(root: Path, tmp_path: Path) -> None:
    rows = read_manifest(root / "lab.parquet").head(4)
    first, second = (task.load_model(root / "teacher") for _ in range(2))
    first.temperature, second.temperature = 1.0, 2.0
    second.head.bias.data += 6.0 * torch.eye(3)[0]
    options = {"min_crop": 0.6, "flips": True, "colour_jitter": 0.1, "randaugment_magnitude": 0}

    def answers(name: str, *models: Any) -> np.ndarray:
        augmentation = options | {"cached_views": 2}
        return Teachers(task, models, augmentation, 0, tmp_path).answers(rows, 2, name)

    alone, both = answers("alone", first), answers("both", first, second)
    expected = (alone + (alone + np.array([6.0, 0, 0])) / 2) / 2
    np.testing.assert_allclose(both, expected, atol=1e-4)
