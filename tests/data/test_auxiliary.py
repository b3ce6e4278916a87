"""Further labelled columns of a table reach the manifest, or are refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from regraft.data.manifest import read_manifest
from regraft.data.readers import list_examples
from regraft.data.validation import validate_images
from regraft.errors import UserError
from tests.data.conftest import PhotoFolder


def written(folder: Path, *lines: str, name: str = "t.csv") -> Path:
    (folder / name).write_text("\n".join(lines), encoding="utf-8")
    return folder / name


def listed(table: Path, *names: str) -> Any:
    return list_examples(
        table, source_domain="", target_domain="", classes=[], auxiliary_labels=names
    )


def test_columns_become_labels_and_empty_cells_none(tmp_path: Path) -> None:
    table = written(
        tmp_path, "path,label,crop,size", "1.jpg,a, apple ,s", "2.jpg,b,tomato,m", "3.jpg,a,,"
    )
    listing = listed(table, "crop", "size")
    assert listing["label:crop"].tolist() == ["apple", "tomato", None]
    assert listing["label:size"].tolist() == ["s", "m", None], "a manifest's own name is no bar"
    assert "crop" not in listing and "user_size" not in listing


def test_json_lines_may_leave_a_label_out(tmp_path: Path) -> None:
    lines = ['{"path": "1.jpg", "label": "a", "grade": 1}', '{"path": "2.jpg", "label": "b"}']
    lines += ['{"path": "3.jpg", "label": "b", "grade": 2}']
    listing = listed(written(tmp_path, *lines, name="t.jsonl"), "grade")
    assert listing["label:grade"].tolist() == ["1", None, "2"]


def test_without_the_recipe_s_word_no_column_is_a_task(tmp_path: Path) -> None:
    table = written(tmp_path, "path,label,crop,label:part", "1.jpg,a,x,y", "2.jpg,b,x,y")
    listing = listed(table)
    assert not any(name.startswith("label:") for name in listing)
    assert listing["user_label:part"].tolist() == ["y", "y"]


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["stage"], ["no column stage", "data.auxiliary_labels", "crop, const"]),
        (["const"], ["const has one value", "x", "two different"]),
        (["void"], ["void has no value"]),
        (["crop", "crop"], ["crop cannot be"]),
        (["label"], ["label cannot be"]),
    ],
)
def test_what_cannot_be_a_task_is_refused(
    names: list[str], words: list[str], tmp_path: Path
) -> None:
    table = written(tmp_path, "path,label,crop,const,void", "1.jpg,a,s,x,", "2.jpg,b,t,x,")
    with pytest.raises(UserError) as raised:
        listed(table, *names)
    for word in words:
        assert word in str(raised.value)


def test_class_folders_have_no_columns(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(UserError, match="columns of a table"):
        listed(tmp_path, "crop")


def test_the_manifest_has_them_and_hides_those_of_unlabelled_rows(
    tmp_path: Path, photo_folder: PhotoFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("regraft.data.validation.run_expectations", lambda *a, **k: [])
    photos = photo_folder({f"{c}{d}": 6 for c in "ab" for d in ("lab", "field")})
    lines = [
        f"photos/{c}{d}/{i:03}.jpg,{c},{d},{'odd' if i % 2 else 'even'}"
        for c in "ab" for d in ("lab", "field") for i in range(6)
    ]  # fmt: skip
    table = written(photos.parent, "path,label,domain,parity", *lines)
    validate_images(
        table, tmp_path / "out", classes=[], source_domain="lab", target_domain="field",
        target_labels_per_class=0, images_per_class=0, test_fraction=0.25,
        target_test_fraction=0.5, validation_fraction=0.0, min_images_per_class=4,
        max_imbalance=10, seed=0, auxiliary_labels=["parity"],
    )  # fmt: skip
    rows = read_manifest(tmp_path / "out" / "manifest.parquet")
    hidden = rows["split"] == "unlabelled"
    assert hidden.sum() >= 4
    assert rows.loc[hidden, "label:parity"].isna().all()
    assert set(rows.loc[~hidden, "label:parity"]) == {"odd", "even"}
