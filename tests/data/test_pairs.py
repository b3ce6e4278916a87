"""Image-text tables: every form is read, and each thing that can be wrong is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from regraft.data.pair_quality import check_pairs, leaking_labels
from regraft.data.pairs import LONGEST_TEXT, read_pairs, usable
from regraft.errors import UserError


def _image(path: Path, seed: int) -> None:
    path.parent.mkdir(exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (40, 40, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def _folder(root: Path, rows: list[dict[str, Any]]) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    for number in range(3):
        _image(root / "images" / f"{number}.png", number)
    lines = [json.dumps(row) + "\n" for row in rows]
    (root / "metadata.jsonl").write_text("".join(lines), encoding="utf-8")
    return root


def _row(
    image: int | str, question: str | None, answer: Any = "yes", **others: Any
) -> dict[str, Any]:
    return {"file_name": f"images/{image}.png", "question": question, "answer": answer, **others}


def _read(root: Path, rows: list[dict[str, Any]], **options: Any) -> pd.DataFrame:
    return read_pairs(_folder(root, rows), max_pixels=10_000, **options)


GOOD = [_row(0, "Is it red?", "Yes."), _row(0, "Is it big?", "no"), _row(1, "Is it red?", "no")]


def test_jsonl_and_csv_of_either_naming_give_the_same_pairs(tmp_path: Path) -> None:
    found = _read(tmp_path, GOOD)
    assert found["label"].tolist() == ["yes", "no", "no"]
    assert found["group"].nunique() == 2
    assert set(found["reason"]) == {""}
    names = {"file_name": "image", "question": "caption", "answer": "target"}
    pd.DataFrame(GOOD).rename(columns=names).to_csv(tmp_path / "other.csv", index=False)
    again = read_pairs(tmp_path / "other.csv", max_pixels=10_000)
    pd.testing.assert_frame_equal(found, again)


def test_folders_of_splits_are_read_from_a_relative_path_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _folder(tmp_path / "pairs" / "train", GOOD[:2])
    _folder(tmp_path / "pairs" / "test", GOOD[2:])
    monkeypatch.chdir(tmp_path)
    found = read_pairs(Path("pairs"), max_pixels=10_000)
    assert found["split"].tolist() == ["test", "train", "train"]
    assert set(found["reason"]) == {""}


def test_an_image_is_drawn_into_one_split_whatever_its_name(tmp_path: Path) -> None:
    rows = [_row(n % 3, f"q{n}") for n in range(9)] + [_row("copy", "q")]
    _folder(tmp_path, rows)
    (tmp_path / "images/copy.png").write_bytes((tmp_path / "images/0.png").read_bytes())
    found = read_pairs(tmp_path, max_pixels=10_000, test_fraction=0.4)
    assert found.groupby("group")["split"].nunique().max() == 1
    assert set(found["split"]) == {"train", "test"}
    assert found["group"].nunique() == 3


BAD = [
    (_row("none", "Is it red?"), "missing_file"),
    (_row("text", "Is it red?"), "not_an_image"),
    (_row("huge", "Is it red?"), "too_many_pixels"),
    (_row(2, "  "), "empty_text"),
    (_row(2, None), "empty_text"),
    (_row(2, "x" * (LONGEST_TEXT + 1)), "text_too_long"),
    (_row(2, "Is it red?", ""), "no_label"),
    (_row(0, "is it RED?", "yes"), "repeated_pair"),
    (_row(1, "Is it red?", "yes"), "conflicting_labels"),
]


def _with_bad(root: Path, bad: list[dict[str, Any]]) -> pd.DataFrame:
    _folder(root, [*GOOD, *bad])
    (root / "images/text.png").write_text("no picture, but long enough to be looked into")
    Image.new("RGB", (101, 100)).save(root / "images/huge.png")
    return read_pairs(root, max_pixels=10_000)


@pytest.mark.parametrize(("bad", "reason"), BAD)
def test_a_bad_pair_is_named_and_left_out(tmp_path: Path, bad: dict[str, Any], reason: str) -> None:
    found = _with_bad(tmp_path, [bad])
    named = (found["reason"] == reason).sum()
    assert named == (2 if reason == "conflicting_labels" else 1)
    assert (found["reason"] == "").sum() == len(found) - named == len(usable(found))


def test_every_problem_fails_a_check_of_its_own(tmp_path: Path) -> None:
    found = _with_bad(tmp_path, [bad for bad, _ in BAD])
    failed = [e for e in check_pairs(found, tmp_path / "docs") if not e["success"]]
    assert {e["table"] for e in failed} == {"incoming"}
    expected = found["reason"].value_counts().drop("")
    assert sorted(e["unexpected"] for e in failed) == sorted(expected)
    assert set(expected.index) == {reason for _, reason in BAD}


def test_good_pairs_pass_every_check(tmp_path: Path) -> None:
    entries = check_pairs(_read(tmp_path, GOOD), tmp_path / "docs")
    assert all(entry["success"] for entry in entries)
    assert (tmp_path / "docs/index.html").is_file()


def test_an_image_in_two_splits_fails(tmp_path: Path) -> None:
    rows = [_row(0, "a", split="train"), _row(0, "b", split="test"), _row(1, "c", split="test")]
    entries = check_pairs(_read(tmp_path, rows), tmp_path / "docs")
    (failed,) = [e for e in entries if not e["success"]]
    assert failed["meaning"] == "no image is in two splits"
    assert failed["unexpected"] == 2


def test_a_text_that_says_its_label_fails_and_one_that_offers_a_choice_does_not(
    tmp_path: Path,
) -> None:
    said = [_row(n % 3, f"This is rust, number {n}", "rust") for n in range(6)]
    other = [_row(n % 3, f"Leaf number {n}", "blight") for n in range(6)]
    entries = check_pairs(_read(tmp_path, said + other), tmp_path / "docs")
    (failed,) = [e for e in entries if not e["success"]]
    assert failed["meaning"] == "no text says its label"
    choice = [
        {"text": f"Rust or blight in {n}?", "label": label}
        for n in range(6)
        for label in ("rust", "blight")
    ]
    assert not leaking_labels(pd.DataFrame(choice))["leaks"].any()


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"file_name": "a.png", "answer": "yes"}], "lacks a column"),
        ([_row(0, "a", split="holdout")], "unknown split"),
        ([_row("none", "a")], "no pair of the table can be used"),
    ],
)
def test_a_table_that_cannot_be_read_is_one_clear_error(
    tmp_path: Path, rows: list[dict[str, Any]], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        _read(tmp_path, rows)


def test_no_table_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no table of image-text pairs"):
        read_pairs(tmp_path, max_pixels=1)
