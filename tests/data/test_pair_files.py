"""Pairs of image and text as files: what is one, what is none, and what never happens to them."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from regraft.data.manifest import read_manifest
from regraft.data.pair_files import PairFile, inspect_pair, open_pair, stored_pair
from regraft.data.pairs import list_pairs
from regraft.data.validation import validate_pairs
from regraft.errors import UserError


def picture(seed: int, side: int = 48) -> bytes:
    blocks = np.random.default_rng(seed).integers(0, 255, (6, 6, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(blocks).resize((side, side)).save(buffer, "PNG")
    return buffer.getvalue()


def test_a_pair_is_the_same_after_its_way_through_a_file(tmp_path: Path) -> None:
    pair = PairFile(picture(0), "Is it süß?")
    path = stored_pair(pair, tmp_path)
    assert open_pair(path.read_bytes()) == pair
    assert stored_pair(pair, tmp_path) == path
    data = b"data:image/png;base64," + base64.b64encode(picture(0))
    assert open_pair(json.dumps({"image": data.decode()})) == PairFile(picture(0), None)


def test_what_a_pair_calls_its_image_is_never_opened(tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(picture(1))
    for named in (str(secret), f"file://{secret}", secret.name):
        with pytest.raises(UserError, match="not_a_pair"):
            open_pair(json.dumps({"image": named, "text": "What is it?"}))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"{", "not_a_pair"),
        (b"[1]", "not_a_pair"),
        (b'{"image": 3, "text": "a"}', "not_a_pair"),
        (b'{"text": "a", "path": "/etc/passwd"}', "not_a_pair"),
        (b"{}", "empty_pair"),
        (b'{"image": "", "text": " "}', "empty_pair"),
        (b'{"text": "?!"}', "empty_text"),
        (json.dumps({"text": "word " * 10_000}).encode(), "too_long"),
        (b"[" * 100_000, "not_a_pair"),
    ],
)
def test_what_is_no_pair_is_one_clear_error(content: bytes, reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        open_pair(content)


def test_to_learn_from_a_pair_needs_both_and_an_intact_image(tmp_path: Path) -> None:
    def reason(pair: PairFile, **limits: Any) -> str:
        return str(inspect_pair(stored_pair(pair, tmp_path), **limits)["reason"])

    assert reason(PairFile(picture(0), "Is it red?")) == ""
    assert reason(PairFile(None, "Is it red?")) == "no_image"
    assert reason(PairFile(picture(0), None)) == "no_text"
    assert reason(PairFile(picture(0), "Is it red?"), max_pixels=100) == "too_many_pixels"
    assert reason(PairFile(b"no picture", "Is it red?")) == "not_an_image"
    assert reason(PairFile(picture(0)[:200], "Is it red?")) in {"truncated", "corrupt"}


def test_near_duplicates_ask_the_same_of_the_same_scene(tmp_path: Path) -> None:
    def bits(seed: int, side: int, text: str) -> int:
        facts = inspect_pair(stored_pair(PairFile(picture(seed, side), text), tmp_path))
        return int(facts["perceptual_hash"], 16)

    first = bits(0, 48, "Is the lung clear?")
    assert (first ^ bits(0, 64, "is the lung clear")).bit_count() < 40
    assert (first ^ bits(0, 48, "Is the heart enlarged?")).bit_count() > 68
    assert (first ^ bits(1, 48, "Is the lung clear?")).bit_count() > 68


def table(root: Path, rows: list[dict[str, Any]]) -> Path:
    (root / "images").mkdir(parents=True)
    for seed in range(12):
        (root / "images" / f"{seed}.png").write_bytes(picture(seed))
    lines = [json.dumps(row) + "\n" for row in rows]
    (root / "metadata.jsonl").write_text("".join(lines), encoding="utf-8")
    return root


def row(image: Any, question: str, answer: str, **others: Any) -> dict[str, Any]:
    name = f"images/{image}.png" if image != "" else ""
    return {"file_name": name, "question": question, "answer": answer, **others}


GOOD = [
    row(seed, f"{which} {ask}?", answer)
    for seed in range(10)
    for which, ask, answer in (("Is it", "red", "Yes."), ("What", "is it", f"thing {seed % 2}"))
]


def validated(root: Path, out: Path, **changes: Any) -> tuple[pd.DataFrame, dict[str, Any]]:
    options: dict[str, Any] = {
        "classes": [], "source_domain": "", "target_domain": "", "target_labels_per_class": 0,
        "images_per_class": 0, "test_fraction": 0.3, "target_test_fraction": 0.5,
        "validation_fraction": 0.15, "min_images_per_class": 4, "max_imbalance": 20.0,
        "near_duplicate_distance": 0, "seed": 0, "rare_classes": "keep",
    }  # fmt: skip
    found = validate_pairs(root, out, store=out / "store", **options | changes)
    return read_manifest(out / "manifest.parquet"), found


def test_a_table_becomes_a_manifest_of_pairs_split_by_image(tmp_path: Path) -> None:
    manifest, quality = validated(table(tmp_path / "data", GOOD), tmp_path / "out")
    assert quality["usable"] == len(GOOD)
    assert manifest.groupby("group")["split"].nunique().max() == 1
    assert set(manifest["split"]) >= {"train", "test"}
    assert set(manifest["answers"]) == {"yes/no", "other"}
    pair = open_pair(Path(manifest["path"][0]).read_bytes())
    assert pair.image is not None
    assert pair.text == manifest["text"][0]


def test_folders_of_splits_have_a_table_each(tmp_path: Path) -> None:
    root = tmp_path / "data"
    sides = {"train": GOOD[:12], "validation": GOOD[12:16], "test": GOOD[16:]}
    for name, rows in sides.items():
        table(root / name, rows)
    manifest, quality = validated(root, tmp_path / "out")
    assert quality["usable"] == len(GOOD)
    assert manifest["split"].value_counts().to_dict() == {"train": 12, "val": 4, "test": 4}
    whole, _ = validated(table(tmp_path / "whole", GOOD), tmp_path / "again")
    assert set(manifest["sha256"]) == set(whole["sha256"])
    (root / "test" / "metadata.jsonl").unlink()
    with pytest.raises(UserError, match="there is no table of image-text pairs") as caught:
        validated(root, tmp_path / "fewer")
    assert "folders without one: test" in str(caught.value)


def test_what_is_wrong_with_a_row_is_its_reason(tmp_path: Path) -> None:
    bad = [
        row("", "Is it red?", "yes"),
        row(3, "", "yes"),
        row("nowhere", "Is it red?", "yes"),
        row(4, "word " * 10_000, "yes"),
        row(5, "Is it red?", "no"),  # another row says yes of the same image
    ]
    _, quality = validated(table(tmp_path / "data", [*GOOD, *bad]), tmp_path / "out")
    assert quality["reasons"] == {
        "conflicting_labels": 2, "missing_file": 1, "no_image": 1, "no_text": 1, "too_long": 1,
    }  # fmt: skip
    failed = {e["meaning"] for e in quality["expectations"] if not e["success"]}
    assert {"every text names an image", "every image has its text"} <= failed


def test_an_image_pinned_to_both_sides_does_not_train(tmp_path: Path) -> None:
    rows = [dict(one, split="train") for one in GOOD[:-4]]
    rows += [dict(one, split="test") for one in GOOD[-4:-1]] + [dict(GOOD[-1], split="train")]
    manifest, quality = validated(table(tmp_path / "data", rows), tmp_path / "out")
    assert manifest.set_index("id")["split"].iloc[-2:].tolist() == ["test", "unused"]
    assert any("pinned to train" in warning for warning in quality["warnings"])


def test_a_text_that_says_its_label_is_flagged(tmp_path: Path) -> None:
    leaking = [row(seed, f"a red thing, number {seed}", "red") for seed in range(10)]
    others = [row(seed, f"a thing that is number {seed}", "blue") for seed in range(10)]
    clean = [row(seed, f"it is number {seed}", "red") for seed in range(10)]
    for rows, flagged in ((leaking + others, 10), (clean + others, 0)):
        out = tmp_path / str(flagged)
        _, quality = validated(table(out / "data", rows), out / "out")
        assert quality["flags"].get("text_says_label", 0) == flagged


def test_rare_answers_are_refused_unless_they_are_to_be_kept(tmp_path: Path) -> None:
    root = table(tmp_path / "data", [*GOOD, row(11, "What is it?", "a yak")])
    with pytest.raises(UserError, match="too few usable examples"):
        validated(root, tmp_path / "out", rare_classes="refuse")
    manifest, _ = validated(root, tmp_path / "out")
    assert (manifest["label"] == "a yak").sum() == 1


@pytest.mark.parametrize("readable", [[], [0]])
def test_kept_answers_of_any_size_need_two_that_can_be_read(
    readable: list[int], tmp_path: Path
) -> None:
    root = table(tmp_path / "data", [row(k, f"Is it {k}?", "no" if k else "yes") for k in range(4)])
    for number in set(range(4)) - set(readable):
        (root / "images" / f"{number}.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match="fewer than two classes have a usable ex") as caught:
        validated(root, tmp_path / "out")
    assert f"{4 - len(readable)} quarantined" in str(caught.value)


@pytest.mark.parametrize("rows", [
    [row(0, f"Is it {k}?", "no" if k % 2 else "yes") for k in range(6)],
    [row(k % 3, f"Is it {k}?", "no" if k % 2 else "yes") for k in range(9)],
    [row(k, f"Is it {k}?", "no" if k % 2 else "yes", split="train") for k in range(6)],
])  # fmt: skip
def test_pairs_of_few_images_or_all_pinned_to_train_leave_no_test(
    rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="too few examples are left for a test") as caught:
        validated(table(tmp_path / "data", rows), tmp_path / "out")
    assert ("pinned" in str(caught.value)) == ("split" in rows[0])


def test_a_table_of_files_of_pairs_keeps_the_images_together(tmp_path: Path) -> None:
    pairs = [PairFile(picture(seed), f"{word} one?") for seed in range(3) for word in "ab"]
    paths = [stored_pair(pair, tmp_path / "pairs") for pair in pairs]
    frame = pd.DataFrame({"path": list(map(str, paths)), "label": ["x", "y"] * 3})
    frame.to_csv(tmp_path / "table.csv", index=False)
    listing = list_pairs(
        tmp_path / "table.csv", store=tmp_path / "store",
        source_domain="", target_domain="", classes=[],
    )  # fmt: skip
    assert set(listing["reason"]) == {""}
    assert sorted(listing.groupby("group").size()) == [2, 2, 2]
