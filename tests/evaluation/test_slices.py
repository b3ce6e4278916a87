import pandas as pd

from regraft.evaluation.slices import slice_table


def frame(count: int = 60) -> pd.DataFrame:
    numbers = range(count)
    return pd.DataFrame(
        {
            "label": ["a" if k % 2 else "b" for k in numbers],
            "predicted": ["a" if k % 2 or k < 10 else "b" for k in numbers],
            "domain": ["field" if k < 12 else "lab" for k in numbers],
            "group": [f"g{k}" for k in numbers],
            "width": [100 + k for k in numbers],
            "height": 100,
            "brightness": [k / count for k in numbers],
            "quality_flags": ["exif_rotated,tiny" if k < 3 else "" for k in numbers],
        }
    )


def test_counts_and_accuracies() -> None:
    rows = {(row["slice"], row["value"]): row for row in slice_table(frame())}
    field = rows["domain", "field"]
    assert (field["count"], field["accuracy"]) == (12, 7 / 12)
    assert field["low"] < field["accuracy"] < field["high"]
    assert rows["class", "a"]["accuracy"] == 1.0
    assert rows["quality flag", "none"]["count"] == 57
    thirds = [row for key, row in rows.items() if key[0] == "brightness"]
    assert [row["count"] for row in thirds] == [20, 20, 20]
    assert sum(key[0] == "size" for key in rows) == 3


def test_small_slices_are_marked() -> None:
    rows = {row["value"]: row for row in slice_table(frame())}
    assert rows["tiny"]["small"] and rows["tiny"]["count"] == 3
    assert not rows["lab"]["small"]


def test_what_has_one_value_is_no_slice() -> None:
    alike = frame().assign(domain="", width=64, brightness=0.5, quality_flags="")
    assert {row["slice"] for row in slice_table(alike)} == {"class"}


def test_other_tasks_name_their_own_columns() -> None:
    text = frame()[["label", "predicted"]].assign(words=range(60), source="x")
    text.loc[:9, "source"] = "y"
    rows = slice_table(text, categories={"source": "source"}, terciles={"words": "length"})
    assert [row["slice"] for row in rows] == ["source"] * 2 + ["length"] * 3 + ["class"] * 2
