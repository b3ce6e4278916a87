from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from PIL import Image

from regraft.data.manifest import read_manifest
from regraft.data.quality import sides_of_groups
from regraft.data.validation import validate, validate_images
from regraft.errors import UserError
from tests.data.conftest import Photo, PhotoFolder
from tests.data.test_images import bomb

OPTIONS: dict[str, Any] = {
    "classes": [],
    "source_domain": "",
    "target_domain": "",
    "target_labels_per_class": 0,
    "images_per_class": 0,
    "test_fraction": 0.25,
    "target_test_fraction": 0.5,
    "validation_fraction": 0.2,
    "min_images_per_class": 4,
    "max_imbalance": 10.0,
    "seed": 0,
}


def validated(root: Path, out: Path, **options: Any) -> dict[str, Any]:
    return validate_images(root, out, **(OPTIONS | options))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Great Expectations takes seconds to import; most tests are about other things."""
    monkeypatch.setattr("regraft.data.validation.run_expectations", lambda *a, **k: [])


def reasons(out: Path) -> dict[str, str]:
    return pd.read_parquet(out / "quarantine.parquet").set_index("id")["reason"].to_dict()


def spoil(root: Path, photo: Photo) -> dict[str, str]:
    """Put one example of everything that can be wrong into class a; the expected reasons."""
    whole = (root / "a/000.jpg").read_bytes()
    (root / "a/text.jpg").write_text("hello")
    (root / "a/cut.jpg").write_bytes(whole[: len(whole) // 2])
    (root / "a/empty.jpg").write_bytes(b"")
    photo(900, (20, 20)).save(root / "a/tiny.png")
    bomb(root / "a/bomb.png")
    shutil.copy(root / "a/001.jpg", root / "a/copy of 001.jpg")
    photo(901).save(root / "a/both.png")
    shutil.copy(root / "a/both.png", root / "b/both.png")
    photo(902).save(root.parent / "outside.png")
    (root / "a/link.png").symlink_to(root.parent / "outside.png")
    return {
        "a/text.jpg": "not_an_image",
        "a/cut.jpg": "truncated",
        "a/empty.jpg": "empty_file",
        "a/tiny.png": "too_small",
        "a/bomb.png": "too_many_pixels",
        "a/copy of 001.jpg": "exact_duplicate",
        "a/both.png": "conflicting_labels",
        "b/both.png": "conflicting_labels",
        "a/link.png": "link_outside_root",
    }


def test_the_whole_step(tmp_path: Path, photo_folder: PhotoFolder, photo: Photo) -> None:
    root, out = photo_folder({"a": 8, "b": 6, "ü c": 5}), tmp_path / "out"
    expected = spoil(root, photo)
    near = photo(0).resize((128, 96))
    near.save(root / "b/near.png")
    quality = validated(root, out)

    assert reasons(out) == expected
    assert quality["examples"] == quality["usable"] + quality["quarantined"] == 29
    assert quality["quarantined"] == sum(quality["reasons"].values()) == len(expected)
    assert sum(sum(split.values()) for split in quality["classes"].values()) == quality["usable"]
    assert set(quality["classes"]) == {"a", "b", "ü c"}
    assert quality["near_duplicate_groups"] == 1
    assert quality["flags"]["near_duplicate_other_label"] == 2
    assert json.loads((out / "quality.json").read_text(encoding="utf-8")) == quality

    manifest = read_manifest(out / "manifest.parquet")
    assert len(manifest) == manifest["id"].nunique() == 20
    assert manifest.set_index("id")["group"]["b/near.png"] == "a/000.jpg"
    assert sides_of_groups(manifest).max() == 1

    assert Path(quality["data_docs"]).is_file()
    failed = {entry["meaning"]: entry["unexpected"] for entry in quality["expectations"]
              if not entry["success"]}  # fmt: skip
    assert failed == {
        "the file is a picture": 1,
        "the file is complete": 1,
        "the file has content": 1,
        "the picture is large enough": 1,
        "the picture is no decompression bomb": 1,
        "links stay inside the data root": 1,
        "the file occurs once": 1,
        "the same file has one label": 2,
        "near-duplicates have one label": 2,
    }
    lines = (out / "quarantine.csv").read_text(encoding="utf-8-sig").splitlines()
    assert len(lines) == 1 + len(expected)


def test_one_message_names_every_class_that_falls_short(
    tmp_path: Path, photo_folder: PhotoFolder, quick: None
) -> None:
    root, out = (
        photo_folder({"fine": 6, "good": 6, "one": 1, "none": 0, "three": 3}),
        tmp_path / "o",
    )
    (root / "three/broken.jpg").write_text("no photo")
    with pytest.raises(UserError) as caught:
        validated(root, out)
    text = str(caught.value)
    assert "3 of 5 classes" in text
    assert "none: 0 usable, 0 quarantined; 4 needed" in text
    assert "one: 1 usable, 0 quarantined; 4 needed" in text
    assert "three: 3 usable, 1 quarantined (1 not_an_image); 4 needed" in text
    assert "data.classes=[fine,good]" in text
    assert reasons(out) == {"three/broken.jpg": "not_an_image"}
    assert not (out / "manifest.parquet").exists()


def test_a_class_of_near_duplicates_cannot_be_tested(
    tmp_path: Path, photo_folder: PhotoFolder, photo: Photo, quick: None
) -> None:
    root = photo_folder({"a": 6, "b": 0})
    for side in range(60, 120, 10):
        photo(77).resize((side, side)).save(root / f"b/{side}.png")
    with pytest.raises(UserError, match="none is left for a test") as caught:
        validated(root, tmp_path / "out")
    assert "lower data.near_duplicate_distance" in str(caught.value)


def test_all_folders_empty(tmp_path: Path, photo_folder: PhotoFolder, quick: None) -> None:
    with pytest.raises(UserError, match="2 of 2 classes"):
        validated(photo_folder({"a": 0, "b": 0}), tmp_path / "out")


def test_one_class_is_no_task(tmp_path: Path, photo_folder: PhotoFolder, quick: None) -> None:
    with pytest.raises(UserError, match="fewer than two classes"):
        validated(photo_folder({"a": 6}), tmp_path / "out")


def test_split_folders_pin_and_what_that_means_is_told(
    tmp_path: Path, photo_folder: PhotoFolder, quick: None
) -> None:
    root = tmp_path / "splits"
    shutil.move(photo_folder({"a": 8, "b": 8}), root / "train")
    for name in "ab":
        (root / "test" / name).mkdir(parents=True)
        for path in sorted((root / "train" / name).iterdir())[:3]:
            shutil.move(path, root / "test" / name)
    quality = validated(root, tmp_path / "out", images_per_class=2)
    for counts in quality["classes"].values():
        assert (counts["train"], counts["val"], counts["test"]) == (5, 0, 3)
    told = " ".join(quality["warnings"])
    assert "nothing is pinned to val" in told
    assert "images_per_class does not count" in told
    assert "are they domains" not in told


def test_the_same_photo_in_two_classes_can_end_the_run(
    tmp_path: Path, photo_folder: PhotoFolder, quick: None
) -> None:
    root = photo_folder({"a": 4, "b": 4})
    shutil.copy(root / "a/000.jpg", root / "b/same.jpg")
    with pytest.raises(UserError, match="a: 3 usable, 1 quarantined .1 conflicting_labels."):
        validated(root, tmp_path / "out")


def test_smallest_useful_case(tmp_path: Path, photo_folder: PhotoFolder, quick: None) -> None:
    quality = validated(photo_folder({"a": 4, "b": 4}), tmp_path / "out")
    for counts in quality["classes"].values():
        assert (counts["train"], counts["test"]) == (3, 1)


def test_unreadable_files_are_quarantined(
    tmp_path: Path, photo_folder: PhotoFolder, not_root: None, quick: None
) -> None:
    root = photo_folder({"a": 5, "b": 5})
    (root / "a/000.jpg").chmod(0)
    validated(root, tmp_path / "out")
    assert reasons(tmp_path / "out") == {"a/000.jpg": "unreadable"}


def listed_facts(path: Path) -> dict[str, Any]:
    """An inspector of text files; it may not read the one called secret."""
    if path.name == "secret.txt":
        raise PermissionError(13, "Permission denied")
    if path.name == "rotten.txt":
        raise OSError(5, "Input/output error")
    text = path.read_text()
    return {"size": len(text), "sha256": text, "perceptual_hash": "", "quality_flags": "",
            "words": len(text.split()), "reason": "", "detail": ""}  # fmt: skip


def test_other_kinds_of_data_bring_their_own_inspector(tmp_path: Path, quick: None) -> None:
    for label in "ab":
        (tmp_path / "root" / label).mkdir(parents=True)
        for number in range(5):
            (tmp_path / "root" / label / f"{number}.txt").write_text(f"{label} says {number}")
    for name in ("secret.txt", "rotten.txt"):
        (tmp_path / "root/a" / name).write_text("x")
    renamed = {k: v for k, v in OPTIONS.items() if k != "min_images_per_class"}
    validate(
        tmp_path / "root",
        tmp_path / "out",
        inspect=listed_facts,
        min_per_class=4,
        near_duplicate_distance=68,
        **renamed,
    )
    manifest = read_manifest(tmp_path / "out/manifest.parquet")
    assert manifest["words"].tolist() == [3] * 10
    assert reasons(tmp_path / "out") == {"a/secret.txt": "unreadable", "a/rotten.txt": "unreadable"}


def domain_root(photo_folder: PhotoFolder) -> Path:
    photo_folder({"a": 6, "b": 6}, name="both/lab")
    return photo_folder({"a": 4, "new": 8}, name="both/field", first_seed=100).parent


def test_classes_unknown_to_the_source_are_left_out(
    tmp_path: Path, photo_folder: PhotoFolder, quick: None
) -> None:
    root = domain_root(photo_folder)
    quality = validated(root, tmp_path / "out", source_domain="lab", target_domain="field")
    assert set(quality["classes"]) == {"a", "b"}
    assert quality["warnings"][0].endswith("source domain: new")
    assert quality["domains"]["field"]["a"]["unlabelled"] == 2
    manifest = read_manifest(tmp_path / "out/manifest.parquet")
    assert set(manifest.loc[manifest["split"] == "unlabelled", "label"]) == {None}


def test_with_target_labels_new_classes_are_learned(
    tmp_path: Path, photo_folder: PhotoFolder, quick: None
) -> None:
    options = {"source_domain": "lab", "target_domain": "field", "target_labels_per_class": 2}
    quality = validated(domain_root(photo_folder), tmp_path / "out", **options)
    assert quality["classes"]["new"] | {"val": 0} == {
        "train": 2, "val": 0, "test": 4, "unlabelled": 2, "unused": 0
    }  # fmt: skip
    assert quality["domains"]["field"]["a"]["train"] == 2


def test_a_target_domain_without_known_classes(
    tmp_path: Path, photo_folder: PhotoFolder, quick: None
) -> None:
    root = domain_root(photo_folder)
    shutil.rmtree(root / "field/a")
    with pytest.raises(UserError, match="no usable example of a known class"):
        validated(root, tmp_path / "out", source_domain="lab", target_domain="field")


def test_forgotten_domains_are_suspected(
    tmp_path: Path, photo_folder: PhotoFolder, quick: None
) -> None:
    quality = validated(domain_root(photo_folder), tmp_path / "out")
    assert any("are they domains" in warning for warning in quality["warnings"])


def test_warnings(tmp_path: Path, photo_folder: PhotoFolder, quick: None) -> None:
    quality = validated(
        photo_folder({"a": 12, "b": 4}), tmp_path / "out", max_imbalance=2, images_per_class=8
    )
    text = "\n".join(quality["warnings"])
    assert "3.0 times" in text
    assert "b: fewer than 8" in text
    assert "cross-validation" in text


def test_a_table_with_missing_labels_and_extra_columns(
    tmp_path: Path, photo_folder: PhotoFolder, quick: None
) -> None:
    root = photo_folder({"a": 5, "b": 5})
    rows = ["path,label,field_id,width"]
    rows += [f"photos/{c}/{i:03}.jpg,{c if i else ''},f{i},w" for c in "ab" for i in range(5)]
    (root.parent / "t.csv").write_text("\n".join(rows))
    validated(root.parent / "t.csv", tmp_path / "out")
    manifest = read_manifest(tmp_path / "out/manifest.parquet")
    assert reasons(tmp_path / "out") == {}
    assert manifest["label"].isna().sum() == 2
    assert set(manifest.loc[manifest["label"].isna(), "split"]) == {"unlabelled"}
    assert set(manifest["field_id"]) == {"f0", "f1", "f2", "f3", "f4"}
    assert set(manifest["user_width"]) == {"w"}
    assert set(manifest["width"]) == {64}


def test_the_manifest_is_the_same_twice(
    tmp_path: Path, photo_folder: PhotoFolder, quick: None
) -> None:
    root = photo_folder({"a": 9, "b": 9})
    tables = []
    for name in ("one", "two"):
        validated(root, tmp_path / name)
        tables.append((tmp_path / name / "manifest.parquet").read_bytes())
    assert tables[0] == tables[1]


def test_a_folder_that_cannot_be_written(tmp_path: Path, photo_folder: PhotoFolder) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="cannot create the output folder"):
        validated(photo_folder({"a": 4, "b": 4}), tmp_path / "file/out")


def test_colour_modes_are_flagged_not_lost(
    tmp_path: Path, photo_folder: PhotoFolder, photo: Photo, quick: None
) -> None:
    root = photo_folder({"a": 5, "b": 5})
    photo(70).convert("CMYK").save(root / "a/c.jpg")
    photo(71).quantize(64).save(root / "a/p.png")
    Image.fromarray(pd.DataFrame(range(64)).to_numpy().astype("uint16").repeat(64, 1) * 999).save(
        root / "a/16.png"
    )
    flags = validated(root, tmp_path / "out")["flags"]
    assert {"converted_cmyk", "converted_palette", "converted_16bit"} <= set(flags)


@pytest.mark.realdata
def test_real_leaf_photos(tmp_path: Path, real_data: Path, quick: None) -> None:
    quality = validated(
        real_data / "plants/lab", tmp_path / "out", images_per_class=100, test_fraction=0.2
    )
    assert quality["examples"] == quality["usable"] == 1583
    assert len(quality["classes"]) == 8
    assert sum(sum(split.values()) for split in quality["classes"].values()) == 1583
    for split in quality["classes"].values():
        assert split["train"] + split["val"] == 100
        assert split["test"] >= 36
    assert 5 <= quality["near_duplicate_groups"] <= 12


@pytest.mark.realdata
def test_real_lab_and_field_photos(tmp_path: Path, real_data: Path, quick: None) -> None:
    quality = validated(
        real_data / "plants", tmp_path / "out", source_domain="lab", target_domain="field"
    )
    field = quality["domains"]["field"]
    assert set(field) == {"tomato_bacterial_spot", "tomato_healthy", "tomato_late_blight"}
    assert sum(sum(split.values()) for split in field.values()) == 208
