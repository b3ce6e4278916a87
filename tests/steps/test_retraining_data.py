"""Old examples keep their splits, new ones join them, and a frozen test scene trains nobody."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from regraft.data.manifest import read_manifest
from regraft.data.validation import validate_images
from regraft.errors import UserError
from regraft.monitoring.log_folder import log_folder
from regraft.monitoring.new_examples import new_examples
from regraft.monitoring.retrainings import begin, folder_of
from regraft.recipe import Recipe
from regraft.steps.retraining_data import retraining_data
from regraft.steps.validate_data import validate_data
from tests.data.conftest import make_photo
from tests.data.test_validation import OPTIONS
from tests.registry.support import log_run, register, write_model

CLASSES = ("a", "b")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A champion `plants` that was trained on 12 photos of each of two classes."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REGRAFT_HOME", str(folder / "home"))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.setattr("regraft.data.validation.run_expectations", lambda *a, **k: [])
        for number in range(24):
            photos = folder / "photos" / CLASSES[number % 2]
            photos.mkdir(parents=True, exist_ok=True)
            make_photo(number).save(photos / f"{number:02}.jpg", quality=90)
        validate_images(folder / "photos", folder / "checked", **OPTIONS)
        run = log_run("k", artifacts=[(folder / "checked/manifest.parquet", "data")])
        register("k", write_model(folder / "model"), run_id=run)
    return folder


@pytest.fixture
def project(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder and a registry of its own with this champion."""
    monkeypatch.setenv("REGRAFT_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr("regraft.data.validation.run_expectations", lambda *a, **k: [])
    (tmp_path / "home").mkdir()
    shutil.copy(trained / "home/mlflow.db", tmp_path / "home/mlflow.db")
    shutil.copytree(trained / "checked", tmp_path / "checked")
    return tmp_path


def window(folder: Path, photos: list[tuple[Any, str | None]]) -> pd.DataFrame:
    """Answered photos as rows of a window; each is (seed or picture, truth)."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, (picture, _) in enumerate(photos):
        picture = make_photo(picture) if isinstance(picture, int) else picture
        picture.save(folder / f"{number:03}.jpg", quality=90)
        paths.append(folder / f"{number:03}.jpg")
    return pd.DataFrame(
        {
            "id": [f"i{number}" for number in range(len(photos))],
            "sequence": range(len(photos)),
            "label": "a",
            "confidence": 0.6,
            "input_path": [str(path) for path in paths],
            "input_hash": [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths],
            "truth": pd.Series([truth for _, truth in photos], dtype=object),
        }
    )


def evidence(project: Path, rows: pd.DataFrame, report: str = "r1") -> Path:
    folder = project / f"evidence {report}"
    folder.mkdir(exist_ok=True)
    rows.to_parquet(folder / "window.parquet")
    (folder / "drift.json").write_text(json.dumps({"report_id": report}))
    begin("plants", report, folder)
    return folder


def recipe(**retraining: Any) -> dict[str, Any]:
    values = {"name": "plants", "data": {"root": "photos"}, "retraining": retraining}
    return Recipe.model_validate(values).model_dump(mode="json")


def prepared(project: Path, rows: pd.DataFrame, **retraining: Any) -> dict[str, Any]:
    return retraining_data(
        name="plants", recipe=recipe(**retraining), evidence=evidence(project, rows),
        out_dir=project / "out",
    )  # fmt: skip


def table_of(found: dict[str, Any]) -> pd.DataFrame:
    return pd.read_csv(found["data"]["root"], dtype=str, keep_default_na=False)


def new_rows(found: dict[str, Any]) -> pd.DataFrame:
    table = table_of(found)
    return table[table["domain"] == "live"].reset_index(drop=True)


def validated(data: dict[str, Any], out: Path, *, seed: int) -> None:
    validate_data(task="image_classification", data=data, seed=seed, out_dir=out)


def test_old_examples_keep_their_split_and_new_ones_are_the_target(project: Path) -> None:
    found = prepared(project, window(project / "live", [(100 + n, None) for n in range(6)]))
    table = table_of(found)
    old = read_manifest(project / "checked/manifest.parquet").set_index("path")
    kept = table[table["domain"] == "training"].set_index("path")
    assert kept["split"].to_dict() == old["split"].to_dict()
    assert kept["label"].to_dict() == old["label"].to_dict()
    assert new_rows(found)["split"].tolist() == ["unlabelled"] * 6
    assert found["domains"] == {"source": "training", "target": "live"}
    assert found["recipe"]["data"] == found["data"]
    assert found["counts"]["new examples unlabelled"] == 6
    assert (project / "out/table.csv").read_text() == Path(found["data"]["root"]).read_text()


def test_the_first_labels_of_a_class_test_and_of_the_others_every_second(project: Path) -> None:
    photos = [(100 + n, CLASSES[n % 2]) for n in range(14)] + [(200, None)]
    rows = new_rows(prepared(project, window(project / "live", photos), test_labels_per_class=3))
    for label in CLASSES:
        own = rows[rows["label"] == label]["split"].tolist()
        assert own == ["test", "test", "test", "train", "test", "train", "test"]
    assert rows[rows["label"] == ""]["split"].tolist() == ["unlabelled"]


def test_the_order_of_arrival_decides_which_labels_are_first(project: Path) -> None:
    rows = window(project / "live", [(100 + n, "a") for n in range(4)])
    rows["truth_order"] = [3, 2, 1, 0]
    found = new_rows(prepared(project, rows, test_labels_per_class=1)).set_index("path")["split"]
    by_number = [found[str(project / f"live/{n:03}.jpg")] for n in range(4)]
    assert by_number == ["train", "test", "train", "test"]


def test_the_table_passes_validation_with_every_pin_kept(project: Path) -> None:
    photos = [(100 + n, CLASSES[n % 2] if n < 10 else None) for n in range(20)]
    found = prepared(project, window(project / "live", photos))
    validated(found["data"], project / "again", seed=3)
    manifest = read_manifest(project / "again/manifest.parquet")
    assert (manifest["split"] == manifest["pinned"]).all()
    assert len(manifest) == 44


def test_what_shows_a_frozen_test_scene_never_trains(project: Path) -> None:
    """A photo that came in is a smaller copy of a frozen test photo."""
    old = read_manifest(project / "checked/manifest.parquet")
    tested = old[old["split"] == "test"].iloc[0]
    seed = int(Path(tested["path"]).stem)
    alike = make_photo(seed).resize((60, 45))
    photos = [(100 + n, None) for n in range(9)] + [(alike, None)]
    found = prepared(project, window(project / "live", photos))
    validated(found["data"], project / "again", seed=0)
    manifest = read_manifest(project / "again/manifest.parquet").set_index("path")
    assert manifest["split"][str(project / "live/009.jpg")] == "unused"
    assert manifest["split"][tested["path"]] == "test"


def test_what_the_champion_trained_on_never_tests(project: Path) -> None:
    """Labels of the champion's own training photos, as they are and resized."""
    old = read_manifest(project / "checked/manifest.parquet")
    trained = old[(old["split"] == "train") & (old["label"] == "a")].iloc[0]
    alike = make_photo(int(Path(trained["path"]).stem)).resize((60, 45))
    rows = window(project / "live", [(alike, "a"), (100, "a")])
    same = rows.iloc[[0]].assign(
        id="same", input_path=trained["path"], input_hash=trained["sha256"]
    )
    found = new_rows(prepared(project, pd.concat([rows, same], ignore_index=True)))
    assert found["split"].tolist() == ["train", "test"]
    assert trained["path"] not in set(found["path"]), "it is there already"


def test_a_second_retraining_labels_what_was_unlabelled_and_does_not_test_it(
    project: Path,
) -> None:
    rows = window(project / "live", [(100 + n, None) for n in range(6)])
    first = prepared(project, rows)
    validated(first["data"], project / "again", seed=0)
    run = log_run("k2", artifacts=[(project / "again/manifest.parquet", "data")])
    register("k2", write_model(project / "model2"), run_id=run)
    rows["truth"] = ["a", None, None, None, None, None]
    second = retraining_data(
        name="plants", recipe=recipe(), evidence=evidence(project, rows, "r2"),
        out_dir=project / "out2",
    )  # fmt: skip
    found = new_rows(second).sort_values("path")
    assert found["split"].tolist() == ["train"] + ["unlabelled"] * 5
    assert len(found) == len(set(found["path"]))


def test_repeated_it_returns_what_it_did_before(project: Path) -> None:
    rows = window(project / "live", [(100 + n, None) for n in range(4)])
    first = prepared(project, rows)
    rows["truth"] = "a"
    assert prepared(project, rows) == first, "a label that came while it ran waits for the next"


def test_labels_of_unknown_classes_are_left_out_and_told(
    project: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    found = prepared(project, window(project / "live", [(100, "rust"), (101, "a")]))
    assert new_rows(found)["label"].tolist() == ["a"]
    assert "does not know with fewer than 8 labels: rust (1)" in capfd.readouterr().err


def test_a_new_class_with_enough_labels_is_learned(project: Path) -> None:
    photos = [(100 + n, "rust" if n < 8 else "a") for n in range(10)]
    found = prepared(project, window(project / "live", photos))
    rows = new_rows(found)
    assert rows[rows["label"] == "rust"]["split"].tolist() == ["train", "test"] * 4
    validated(found["data"], project / "again", seed=0)
    manifest = read_manifest(project / "again/manifest.parquet")
    assert set(manifest["label"]) == {"a", "b", "rust"}
    assert found["recipe"]["data"]["target_labels_per_class"] == 1


def test_old_files_that_are_gone_stop_it_unless_the_recipe_goes_on(
    project: Path, request: pytest.FixtureRequest
) -> None:
    old = read_manifest(project / "checked/manifest.parquet")
    rows = window(project / "live", [(100, None)])
    gone = Path(old["path"].iat[0])
    content = gone.read_bytes()
    gone.unlink()
    request.addfinalizer(lambda: gone.write_bytes(content))
    with pytest.raises(UserError) as raised:
        prepared(project, rows)
    assert "1 of 24 examples that the champion learned from are gone" in str(raised.value)
    assert old["path"].iat[0] in str(raised.value)
    assert "retraining.allow_missing=true" in str(raised.value)
    found = prepared(project, rows, allow_missing=True)
    assert found["counts"]["old examples"] == 23


def test_replay_may_be_bounded_and_the_test_set_stays(project: Path) -> None:
    found = table_of(prepared(project, window(project / "live", [(100, None)]), replay_per_class=2))
    old = read_manifest(project / "checked/manifest.parquet")
    own = found[found["domain"] == "training"]
    trained = own[own["split"] == "train"].groupby("label").size()
    assert trained.to_dict() == {"a": 2, "b": 2}
    assert (own["split"] == "test").sum() == (old["split"] == "test").sum()


def test_inputs_that_the_log_will_throw_away_are_kept(project: Path) -> None:
    inputs = log_folder("plants") / "inputs"
    rows = window(inputs, [(100, None), (101, None)])
    found = retraining_data_of_window_only(project, rows)
    for path in inputs.iterdir():
        path.unlink()
    paths = new_rows(found)["path"].tolist()
    assert all(Path(path).is_file() for path in paths)
    assert all(folder_of("plants", "r1") in Path(path).parents for path in paths)


def retraining_data_of_window_only(project: Path, rows: pd.DataFrame) -> dict[str, Any]:
    """As if the log had been emptied between check and retraining."""
    from unittest.mock import patch

    with patch("regraft.monitoring.new_examples.whole_log", lambda name: None):
        return prepared(project, rows)


def test_at_most_so_many_new_examples_the_labelled_and_the_newest_first(project: Path) -> None:
    photos = [(100, "a"), *((101 + n, None) for n in range(5))]
    rows = new_rows(prepared(project, window(project / "live", photos), most_new_examples=3))
    assert sorted(Path(path).name for path in rows["path"]) == ["000.jpg", "004.jpg", "005.jpg"]


def test_a_champion_without_a_manifest_cannot_be_retrained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REGRAFT_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    register("k", write_model(tmp_path / "model"))
    with pytest.raises(UserError, match="has no manifest"):
        prepared(tmp_path, window(tmp_path / "live", [(100, None)]))


def test_labels_that_come_later_count_and_the_last_one_wins(tmp_path: Path) -> None:
    rows = window(tmp_path, [(1, None), (2, None), (3, "a")])
    log = pd.concat([rows.iloc[:1].assign(id="before"), rows], ignore_index=True)
    log["truth"] = [None, "b", None, "a"]
    later = rows.iloc[[2]].assign(id="later", truth="b")
    again = pd.concat([log, later], ignore_index=True)
    found = new_examples(rows, again)
    assert found["label"].tolist() == ["b", None, "b"]
    assert len(found) == 3


def test_without_files_there_is_nothing_to_learn_from(tmp_path: Path) -> None:
    rows = window(tmp_path, [(1, "a"), (2, None)])
    rows["input_path"] = ["", np.nan]
    assert len(new_examples(rows, None)) == 0
