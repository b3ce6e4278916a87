from __future__ import annotations

import json
import os
import unicodedata
from pathlib import Path

import pandas as pd
import pytest

from regraft.data.readers import list_examples
from regraft.errors import UserError


def listed(root: Path, **options: object) -> pd.DataFrame:
    asked = {"source_domain": "", "target_domain": "", "classes": []} | options
    return list_examples(root, **asked)


def touched(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    return root


def test_class_folders_are_walked_and_sorted(tmp_path: Path) -> None:
    touched(tmp_path, "b/2.jpg", "a/deep/er/1.jpg", "a/ü x.jpg", "readme.md")
    listing = listed(tmp_path)
    assert listing["id"].tolist() == ["a/deep/er/1.jpg", "a/ü x.jpg", "b/2.jpg"]
    assert listing["label"].tolist() == ["a", "a", "b"]
    assert all(Path(path).is_absolute() for path in listing["path"])
    assert set(listing["domain"]) == set(listing["reason"]) == {""}


def test_junk_is_ignored(tmp_path: Path) -> None:
    touched(tmp_path, "a/1.jpg", "a/.DS_Store", "a/Thumbs.db", ".git/x", "__MACOSX/a/1.jpg")
    assert listed(tmp_path)["id"].tolist() == ["a/1.jpg"]


def test_an_empty_class_is_known_without_rows(tmp_path: Path) -> None:
    touched(tmp_path, "a/1.jpg")
    (tmp_path / "b").mkdir()
    assert listed(tmp_path).attrs["classes"] == [["", "a"], ["", "b"]]


def test_domains(tmp_path: Path) -> None:
    touched(tmp_path, "lab/a/1.jpg", "field/a/1.jpg", "other/a/1.jpg")
    listing = listed(tmp_path, source_domain="lab", target_domain="field")
    assert listing["id"].tolist() == ["lab/a/1.jpg", "field/a/1.jpg"]
    assert listing["domain"].tolist() == ["lab", "field"]
    assert listed(tmp_path, source_domain="lab")["domain"].tolist() == ["lab"]


def test_folders_named_like_splits_are_splits_of_the_classes_in_them(tmp_path: Path) -> None:
    touched(tmp_path, "Train/a/1.jpg", "Train/b/2.jpg", "valid/a/3.jpg", "test/b/4.jpg", "readme")
    listing = listed(tmp_path).sort_values("id")
    assert listing["label"].tolist() == ["a", "b", "b", "a"]
    assert listing["split"].tolist() == ["train", "train", "test", "val"]
    assert {name for _, name in listing.attrs["classes"]} == {"a", "b"}
    assert listed(tmp_path, classes=["a"])["split"].tolist() == ["train", "val"]


def test_splits_may_lie_in_one_domain_alone(tmp_path: Path) -> None:
    touched(tmp_path, "lab/train/a/1.jpg", "lab/test/a/2.jpg", "field/a/3.jpg")
    listing = listed(tmp_path, source_domain="lab", target_domain="field").sort_values("id")
    assert listing["domain"].tolist() == ["field", "lab", "lab"]
    assert listing["split"].tolist() == ["", "test", "train"]


@pytest.mark.parametrize("names", [
    ("train/1.jpg", "test/2.jpg"),  # files lie in them: they are classes
    ("train/a/1.jpg", "test/a/2.jpg", "bus/a/3.jpg"),
    ("val/a/1.jpg", "test/a/2.jpg"),  # nothing to train on
])  # fmt: skip
def test_classes_may_be_called_like_a_split(tmp_path: Path, names: tuple[str, ...]) -> None:
    listing = listed(touched(tmp_path, *names))
    assert listing["label"].tolist() == sorted(name.split("/")[0] for name in names)
    assert "split" not in listing


def test_a_link_is_no_split(tmp_path: Path) -> None:
    touched(tmp_path, "elsewhere/a/1.jpg", "root/test/a/2.jpg")
    (tmp_path / "root/train").symlink_to(tmp_path / "elsewhere")
    listing = listed(tmp_path / "root")
    assert listing["reason"].tolist() == ["", "link_outside_root"]


def test_classes_restrict(tmp_path: Path) -> None:
    touched(tmp_path, "a/1.jpg", "b/1.jpg", "c/1.jpg")
    listing = listed(tmp_path, classes=["c", "a"])
    assert listing["label"].tolist() == ["a", "c"]
    assert listing.attrs["classes"] == [["", "a"], ["", "c"]]


def test_composed_and_decomposed_names_are_one_label(tmp_path: Path) -> None:
    decomposed = unicodedata.normalize("NFD", "né")
    touched(tmp_path, f"{decomposed}/1.jpg")
    assert listed(tmp_path, classes=["né"])["label"].tolist() == ["né"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classes": ["tomatoe_rust"]}, "tomato_rust, "),
        ({"source_domain": "labb"}, "lab, "),
        ({"source_domain": "lab", "target_domain": "lab"}, "are the same"),
        ({"target_domain": "lab"}, "needs a source"),
    ],
)
def test_wrong_names_are_refused_with_the_nearest(
    tmp_path: Path, options: dict[str, object], message: str
) -> None:
    touched(tmp_path, "tomato_rust/1.jpg", "apple/1.jpg", "lab/x/1.jpg")
    with pytest.raises(UserError, match=message):
        listed(tmp_path, **options)


def test_missing_root(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        listed(tmp_path / "none")


def test_no_class_folders(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no class folders"):
        listed(touched(tmp_path, "1.jpg"))


def test_unknown_kind_of_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="unknown kind"):
        listed(touched(tmp_path, "photos.zip") / "photos.zip")


def test_classes_that_differ_by_case_are_refused(tmp_path: Path) -> None:
    touched(tmp_path, "Rust/1.jpg", "rust/2.jpg")
    if len(list(tmp_path.iterdir())) < 2:
        pytest.skip("this file system ignores case")
    with pytest.raises(UserError, match="Rust / rust"):
        listed(tmp_path)


def test_links_that_leave_the_root_are_not_followed(tmp_path: Path) -> None:
    root = touched(tmp_path / "root", "a/1.jpg")
    touched(tmp_path, "secret/2.jpg")
    (root / "a/file.jpg").symlink_to(tmp_path / "secret/2.jpg")
    (root / "a/folder").symlink_to(tmp_path / "secret")
    (root / "a/inside.jpg").symlink_to(root / "a/1.jpg")
    (root / "a/loop").symlink_to(root / "a")
    (root / "b").symlink_to(tmp_path / "secret")
    (root / "a/dead.jpg").symlink_to(root / "a/none.jpg")
    reasons = listed(root).set_index("id")["reason"].to_dict()
    assert reasons == {
        "a/1.jpg": "",
        "a/dead.jpg": "unreadable",
        "a/file.jpg": "link_outside_root",
        "a/folder": "link_outside_root",
        "a/inside.jpg": "",
        "a/loop": "link_to_folder",
        "b": "link_outside_root",
    }


def test_a_pipe_is_not_opened(tmp_path: Path) -> None:
    touched(tmp_path, "a/1.jpg")
    os.mkfifo(tmp_path / "a/pipe.jpg")
    assert listed(tmp_path)["reason"].tolist() == ["", "not_a_file"]


def test_a_folder_without_permission_is_one_row(tmp_path: Path, not_root: None) -> None:
    touched(tmp_path, "a/1.jpg", "a/closed/2.jpg")
    (tmp_path / "a/closed").chmod(0)
    try:
        assert listed(tmp_path).set_index("id")["reason"]["a/closed"] == "unreadable"
    finally:
        (tmp_path / "a/closed").chmod(0o700)


def test_csv(tmp_path: Path) -> None:
    touched(tmp_path, "x/1.jpg", "x/2.jpg")
    table = "path,label,group,plot,id\nx/1.jpg,NA,g1,7,k1\nx/2.jpg,01,,8,k2\nx/3.jpg,01,,9,k3\n"
    (tmp_path / "t.csv").write_text(table, encoding="utf-8-sig")
    listing = listed(tmp_path / "t.csv")
    assert listing["id"].tolist() == ["x/1.jpg", "x/2.jpg", "x/3.jpg"]
    assert listing["label"].tolist() == ["NA", "01", "01"]
    assert listing["group"].tolist() == ["g1", "", ""]
    assert listing["plot"].tolist() == ["7", "8", "9"]
    assert listing["user_id"].tolist() == ["k1", "k2", "k3"]
    assert listing["reason"].tolist() == ["", "", "missing_file"]


def test_jsonl_with_domains_and_unlabelled_rows(tmp_path: Path) -> None:
    touched(tmp_path, "1.jpg", "2.jpg", "3.jpg")
    rows = [
        {"path": "1.jpg", "label": 1, "domain": "lab", "age": 3, "tags": ["x"]},
        {"path": "2.jpg", "label": None, "domain": "field", "age": 4},
        {"path": "3.jpg", "label": 1, "domain": "zoo", "age": "old"},
    ]
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, rows)))
    listing = listed(tmp_path / "t.jsonl", source_domain="lab", target_domain="field")
    assert listing["label"].tolist() == ["1", None]
    assert listing["age"].tolist() == [3, 4]
    assert listing["tags"].iloc[0] == '["x"]'
    with pytest.raises(UserError, match="field, lab, zoo"):
        listed(tmp_path / "t.jsonl", source_domain="space")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", "path,class\na.jpg,x\n", "no column label"),
        ("t.csv", "", "not valid CSV"),
        ("t.csv", "path,label\n,x\n", "have no path"),
        ("t.jsonl", '{"path": "a.jpg", "label": "x"}\n{oops\n', "line 2"),
        ("t.jsonl", "[1]\n", "not a JSON object"),
    ],
)
def test_bad_tables(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=message):
        listed(tmp_path / name)


def test_a_table_in_another_encoding(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes("path,label\nä.jpg,é\n".encode("latin-1"))
    with pytest.raises(UserError, match="UTF-8"):
        listed(tmp_path / "t.csv")


def test_a_table_may_name_files_elsewhere_but_not_through_links(tmp_path: Path) -> None:
    touched(tmp_path, "elsewhere/1.jpg")
    folder = touched(tmp_path / "here", "t.csv")
    (folder / "link.jpg").symlink_to(tmp_path / "elsewhere/1.jpg")
    outside = tmp_path / "elsewhere/1.jpg"
    (folder / "t.csv").write_text(f"path,label\n{outside},a\nlink.jpg,a\n")
    listing = listed(folder / "t.csv").set_index("id")
    assert listing["reason"].to_dict() == {outside.as_posix(): "", "link.jpg": "link_outside_root"}
