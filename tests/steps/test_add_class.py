"""A class is added to a champion: the backbone does not move, known classes are not forgotten."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from safetensors.numpy import load_file

from regraft.backbones.encoder import Encoder
from regraft.backbones.loading import load_pretrained
from regraft.data.examples.leaves import draw_leaf
from regraft.data.manifest import read_manifest
from regraft.errors import UserError
from regraft.monitoring.reference import load_reference
from regraft.registry import decision, store, versions
from regraft.registry.run_files import RECIPE, run_file
from regraft.serving.predict import predict
from regraft.steps.add_class import add_class
from regraft.steps.validate_data import validate_data
from regraft.tasks import image_classification as task
from regraft.training.probe import fit_probe
from tests.registry.support import answers

KNOWN = ["healthy", "mosaic", "powdery_mildew"]


def draw(folder: Path, label: str, numbers: range, *, domain: str = "lab") -> Path:
    folder.mkdir(parents=True)
    for index in numbers:
        picture = Image.fromarray(draw_leaf(domain, label, index))
        picture.save(folder / f"{index}.jpg", quality=90)
    return folder


@dataclass(frozen=True)
class Champion:
    """Version 1 of `leaves`, whose run logged no manifest, and where things are."""

    root: Path

    @property
    def manifest(self) -> Path:
        return self.root / "data" / "manifest.parquet"

    @property
    def rust(self) -> Path:
        return self.root / "new" / "rust"

    def add(self, label: str = "rust", folder: Path | None = None, **options: Any) -> Any:
        options.setdefault("manifest", self.manifest)
        return add_class("leaves", label, folder or self.rust, **options)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Champion]:
    root = tmp_path_factory.mktemp("leaves")
    for label in KNOWN:
        draw(root / "photos" / label, label, range(24))
    draw(root / "new" / "rust", "rust", range(12))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REGRAFT_HOME", str(root / "home"))
        for name in ("MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID"):
            patch.delenv(name, raising=False)
        validate_data(
            task="image_classification", data={"root": str(root / "photos")}, seed=0,
            out_dir=root / "data",
        )  # fmt: skip
        champion = Champion(root)
        patch.setattr("regraft.registry.fresh_process.verify", answers)  # 10 s for each version
        register_probe(champion)
        yield champion


def register_probe(champion: Champion) -> None:
    rows = read_manifest(champion.manifest)
    encoder = Encoder(*load_pretrained("starter", taps=3)).eval()
    _, averaged = task.embed(encoder, rows, views=2)
    probe = fit_probe(rows, averaged, seed=0)
    model = task.new_model(encoder, probe.classes, test_views=2)
    model.set_head(**probe.head.scaled(4.0).arrays())
    model.temperature = 1.5
    task.save(model, champion.root / "model")
    client = store.connect()
    run = client.create_run(store.experiment_id(client, "leaves"))
    client.log_text(str(run.info.run_id), "{}", RECIPE)
    decision.register(
        name="leaves",
        model_folder=champion.root / "model",
        run_id=str(run.info.run_id),
        run_key="first",
        candidate={"accuracy": 0.9, "interval": {"accuracy": [0.85, 0.95]}},
        floor={},
        majority_accuracy=0.4,
        compare=lambda *_: {},
        code_version="c0de",
        data_version="sha256:da7a",
    )


@pytest.fixture
def champion(trained: Champion, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Champion:
    """A copy of the registry, so that each test meets version 1."""
    # the artifact addresses in the copy still name the files of the original, which nobody writes
    shutil.copytree(trained.root / "home", tmp_path / "home")
    monkeypatch.setenv("REGRAFT_HOME", str(tmp_path / "home"))
    return trained


def folder_of(version: str) -> Path:
    with versions.model_folder("leaves", version) as folder:
        return folder


def test_the_class_is_learned_and_nothing_else_moves(champion: Champion) -> None:
    found = champion.add(max_drop_pp=10.0)
    assert found["decision"]["outcome"] == "promote"
    assert found["decision"]["champion_after"] == "2"
    assert found["new_class"]["accuracy"] > 0.6
    before, after = (load_file(folder_of(v) / "model.safetensors") for v in "12")
    assert set(before) == set(after)
    for name, value in before.items():
        if name in {"head.weight", "head.bias"}:
            assert len(after[name]) == 4
            np.testing.assert_array_equal(after[name][:3], value)
        else:
            np.testing.assert_array_equal(after[name], value)
    photo = str(draw(champion.root / "unseen", "rust", range(100, 101)) / "100.jpg")
    (answer,) = predict("leaves", [photo])
    assert set(answer["probabilities"]) == {*KNOWN, "rust"}


def test_the_figures_are_those_of_the_registered_models(champion: Champion) -> None:
    found = champion.add(max_drop_pp=10.0)
    rows = read_manifest(champion.manifest)
    test = rows[rows["split"] == "test"]
    for version, key in (("1", "champion_accuracy"), ("2", "accuracy")):
        answers = predict(f"leaves/{version}", test["path"].tolist())
        right = [a["label"] == label for a, label in zip(answers, test["label"], strict=True)]
        assert found["old_classes"][key] == pytest.approx(np.mean(right), abs=1e-9)
    old = found["old_classes"]
    drop = 100 * (old["champion_accuracy"] - old["accuracy"])
    assert old["drop_pp"] == pytest.approx(drop)
    assert old["interval_pp"][0] <= old["drop_pp"] <= old["interval_pp"][1]


def test_known_classes_that_lose_too_much_hold_it_back(
    champion: Champion, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken on purpose: a row that takes every photo for the new class."""
    from regraft.backbones.heads import further_class as module

    def greedy(features: Any, *args: Any, **kwargs: Any) -> Any:
        return module.Row(np.zeros(features.shape[1]), 1e3, 1.0)

    monkeypatch.setattr(module, "further_class", greedy)
    found = champion.add()
    assert found["new_class"]["accuracy"] == 1.0
    assert found["old_classes"]["drop_pp"] > 50
    assert found["decision"]["outcome"] == "hold"
    assert "old class accuracy" in found["decision"]["reason"]
    assert found["decision"]["champion_after"] == "1"


def test_a_class_that_is_not_found_holds_it_back(
    champion: Champion, monkeypatch: pytest.MonkeyPatch
) -> None:
    from regraft.backbones.heads import further_class as module

    def silent(features: Any, *args: Any, **kwargs: Any) -> Any:
        return module.Row(np.zeros(features.shape[1]), -1e3, 1.0)

    monkeypatch.setattr(module, "further_class", silent)
    found = champion.add()
    assert found["old_classes"]["drop_pp"] == 0
    assert found["new_class"]["accuracy"] == 0
    assert found["decision"]["outcome"] == "hold"


def test_the_new_version_knows_its_data_so_that_another_class_can_follow(
    champion: Champion, tmp_path: Path
) -> None:
    first = champion.add(max_drop_pp=10.0)
    assert first["decision"]["outcome"] == "promote"
    reference = load_reference("leaves/2")  # so that its live answers can be watched
    assert reference.classes == [*KNOWN, "rust"]
    assert run_file(versions.resolve("leaves/2"), RECIPE, tmp_path) is not None
    assert set(reference.rows["label"]) == set(reference.classes)
    blight = draw(champion.root / "new" / "blight", "blight", range(12))
    found = champion.add("blight", blight, manifest=None, max_drop_pp=10.0)
    assert found["classes"] == [*KNOWN, "rust", "blight"]
    assert found["old_classes"]["count"] == (
        first["old_classes"]["count"] + first["photos"]["kept_for_tests"]
    )
    tags = store.connect().get_model_version("leaves", "2").tags
    assert tags["regraft.code_version"] == "c0de"
    assert tags["regraft.data_version"].startswith("sha256:da7a+")


def test_a_held_version_is_not_registered_twice(
    champion: Champion, monkeypatch: pytest.MonkeyPatch
) -> None:
    from regraft.backbones.heads import further_class as module

    row = module.Row(np.zeros(task.load_model(folder_of("1")).encoder.dim), -1e3, 1.0)
    monkeypatch.setattr(module, "further_class", lambda *a, **k: row)
    first, second = champion.add(), champion.add()
    assert first["decision"]["candidate_version"] == second["decision"]["candidate_version"] == "2"


@pytest.mark.parametrize("label", ["mosaic", "Mosaic", " mosaic "])
def test_a_label_that_exists_is_refused(champion: Champion, label: str) -> None:
    with pytest.raises(UserError, match="knows this class already"):
        champion.add(label)


def test_folders_that_cannot_be_used_are_refused(champion: Champion, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        champion.add(folder=tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="is empty"):
        champion.add(folder=tmp_path / "empty")
    few = draw(tmp_path / "few", "rust", range(3))
    with pytest.raises(UserError, match="too few photos"):
        champion.add(folder=few)
    for index in range(3, 9):
        shutil.copy(few / "0.jpg", few / f"{index}.jpg")
    with pytest.raises(UserError, match="3 photos, 3 of them independent"):
        champion.add(folder=few)
    (few / "broken.jpg").write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"broken\.jpg"):
        champion.add(folder=few)


def test_photos_of_known_classes_are_refused(champion: Champion, tmp_path: Path) -> None:
    folder = draw(tmp_path / "rust", "rust", range(6))
    known = champion.root / "photos" / "mosaic" / "3.jpg"
    shutil.copy(known, folder / "copy.jpg")
    with pytest.raises(UserError, match=r"copy\.jpg is mosaic/3\.jpg \(class mosaic\)"):
        champion.add(folder=folder)
    (folder / "copy.jpg").unlink()
    Image.open(known).save(folder / "again.jpg", quality=40)
    with pytest.raises(UserError, match="1 photos of the new class are duplicates"):
        champion.add(folder=folder)


def test_a_manifest_that_is_missing_wrong_or_without_photos(
    champion: Champion, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="--manifest"):
        champion.add(manifest=None)
    rows = pd.read_parquet(champion.manifest)
    other = tmp_path / "other.parquet"
    rows[rows["label"] != "mosaic"].to_parquet(other)
    with pytest.raises(UserError, match="not that of this model"):
        champion.add(manifest=other)
    rows.assign(path="/nowhere/" + rows["id"]).to_parquet(other)
    with pytest.raises(UserError, match="are not there"):
        champion.add(manifest=other)


def test_unknown_models_are_refused(champion: Champion) -> None:
    with pytest.raises(UserError, match="no model 'nobody'"):
        add_class("nobody", "rust", champion.rust)
    with pytest.raises(UserError, match="not a name"):
        add_class("leaves/1", "rust", champion.rust)


def test_the_report_is_json(champion: Champion) -> None:
    found = json.loads(json.dumps(champion.add()))
    assert set(found) == {"label", "classes", "photos", "old_classes", "new_class", "decision"}
