"""A table may pin splits; a frozen test set stays frozen, and nothing like it is trained on."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from regraft.data.manifest import read_manifest
from regraft.data.pins import lost_pins
from regraft.data.quality import sides_of_groups
from regraft.data.readers import list_examples
from regraft.errors import UserError
from tests.data.conftest import Photo
from tests.data.test_splits import examples, split, two_domains
from tests.data.test_validation import validated


def pinned(table: pd.DataFrame, pins: dict[int, str]) -> pd.DataFrame:
    return table.assign(split=[pins.get(row, "") for row in range(len(table))])


def test_pinned_rows_are_where_the_table_says_whatever_the_options() -> None:
    names = itertools.cycle(["train", "val", "test", "unused"])
    table = examples({"a": 40, "b": 40}).assign(split=[next(names) for _ in range(80)])
    for options in ({}, {"test_fraction": 0.9}, {"images_per_class": 1}, {"seed": 5}):
        found = split(table, **options)
        assert found["split"].tolist() == table["split"].tolist()
    assert found["pinned"].tolist() == table["split"].tolist()


def test_rows_with_an_empty_cell_are_split_as_ever() -> None:
    free = examples({"a": 50, "b": 50})
    other = examples({"a": 4, "b": 4}, domain="old").assign(domain="")
    table = pd.concat([pinned(free, {}), other.assign(split="test")], ignore_index=True)
    found = split(table)
    assert found["split"].tolist()[:100] == split(free)["split"].tolist()
    assert set(found["split"][100:]) == {"test"}


def test_a_table_without_the_column_has_nothing_new() -> None:
    assert "pinned" not in split(examples({"a": 20, "b": 20}))


@pytest.mark.parametrize("side", ["test", "val"])
def test_what_shows_a_pinned_test_scene_is_never_trained_on(side: str) -> None:
    table = two_domains().assign(split="")
    table.loc[:3, "group"] = "scene"
    table.loc[70:72, "group"] = "scene"  # in the other domain
    table.loc[0, "split"] = side
    table.loc[1, "split"] = "train"
    options = {"source_domain": "lab", "target_domain": "field", "target_labels_per_class": 5}
    for seed in range(20):
        found = split(table, **options, seed=seed)
        scene = found[found["group"] == "scene"]["split"]
        assert scene.iat[0] == side
        assert set(scene.iloc[1:]) == {"unused"}
    assert lost_pins(found).tolist() == [row == 1 for row in range(len(found))]


def test_what_shows_a_pinned_training_scene_is_never_tested() -> None:
    table = two_domains().assign(split="")
    table.loc[:3, "group"] = "scene"
    table.loc[70:72, "group"] = "scene"
    table.loc[0, "split"] = "train"
    for seed in range(20):
        found = split(table, source_domain="lab", target_domain="field", seed=seed)
        scene = set(found[found["group"] == "scene"]["split"])
        assert scene <= {"train", "unlabelled", "unused"}


def test_random_pins_and_groups_never_leak() -> None:
    generator = np.random.default_rng(0)
    for seed in range(40):
        table = two_domains()
        table["group"] = [f"g{n}" for n in generator.integers(0, 25, len(table))]
        choices = np.where(table["domain"] == "field", "unlabelled", "unused")
        drawn = generator.integers(0, 5, len(table))
        table["split"] = [("", "train", "val", "test", other)[n] for n, other
                          in zip(drawn, choices, strict=True)]  # fmt: skip
        found = split(table, source_domain="lab", target_domain="field", seed=seed,
                      target_labels_per_class=2)  # fmt: skip
        assert sides_of_groups(found).max() == 1
        tested = table["split"] == "test"
        assert (found.loc[tested, "split"] == "test").all()
        assert found.loc[found["split"] == "unlabelled", "label"].isna().all()


def test_the_source_of_a_target_may_not_be_pinned_to_unlabelled() -> None:
    table = pinned(two_domains(), {0: "unlabelled"})
    with pytest.raises(UserError, match="1 rows are pinned to unlabelled"):
        split(table, source_domain="lab", target_domain="field")
    alone = split(pinned(examples({"a": 9, "b": 9}), {0: "unlabelled"}))
    assert alone.loc[0, ["split", "label"]].tolist() == ["unlabelled", None]


def table_of(folder: Path, lines: list[str]) -> Path:
    (folder / "t.csv").write_text("\n".join(["path,label,split", *lines]), encoding="utf-8")
    return folder / "t.csv"


def listed(path: Path) -> pd.DataFrame:
    return list_examples(path, source_domain="", target_domain="", classes=[])


def test_wrong_values_are_one_message(tmp_path: Path) -> None:
    table = table_of(tmp_path, ["1.jpg,a,train", "2.jpg,a,dev", "3.jpg,b,holdout", "4.jpg,b,"])
    with pytest.raises(UserError) as raised:
        listed(table)
    text = str(raised.value)
    assert "2 rows of the table have an unknown split" in text
    assert "first in data row 2" in text
    assert "dev, holdout" in text
    assert "train, val, test, unlabelled, unused" in text


def test_a_pinned_row_needs_its_label(tmp_path: Path) -> None:
    table = table_of(tmp_path, ["1.jpg,a,train", "2.jpg,,unlabelled", "3.jpg,,test"])
    with pytest.raises(UserError, match="1 rows are pinned to a split that needs a label"):
        listed(table)


def test_a_table_of_photos_with_pins(tmp_path: Path, photo: Photo) -> None:
    """A copy of a frozen test photo leaves the test photo, a near-duplicate of it trains nobody."""
    lines: list[str] = []

    def add(name: str, label: str, side: str, picture: Any) -> None:
        picture.save(tmp_path / name, quality=90)
        lines.append(f"{name},{label},{side}")

    for number in range(12):
        label = "ab"[number % 2]
        add(f"{number:03}.jpg", label, ("test", "train", "")[number // 4], photo(number))
    (tmp_path / "000 copy.jpg").write_bytes((tmp_path / "000.jpg").read_bytes())
    lines.append("000 copy.jpg,a,train")
    add("alike.jpg", "a", "train", photo(2).resize((60, 45)))
    quality = validated(table_of(tmp_path, lines), tmp_path / "out")
    manifest = read_manifest(tmp_path / "out/manifest.parquet").set_index("id")
    assert (manifest["split"][[f"{n:03}.jpg" for n in range(4)]] == "test").all()
    assert (manifest["split"][[f"{n:03}.jpg" for n in range(4, 8)]] == "train").all()
    assert "000 copy.jpg" not in manifest.index
    assert manifest["split"]["alike.jpg"] == "unused"
    failed = {one["meaning"] for one in quality["expectations"] if not one["success"]}
    assert failed == {
        "the file occurs once", "pinned examples are where their table put them"
    }  # fmt: skip
    assert any("1 examples pinned to train are near-duplicates" in w for w in quality["warnings"])
