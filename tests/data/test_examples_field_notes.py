"""The field notes: reproducible, and neither picture nor note determines what to do."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from regraft.data.examples.field_notes import FILE, field_notes, generate_field_notes


def test_the_same_notes_each_time_and_none_written_twice(tmp_path: Path) -> None:
    assert generate_field_notes(tmp_path) == 1
    assert generate_field_notes(tmp_path) == 0
    assert field_notes(seed=1) != field_notes()
    assert len((tmp_path / FILE).read_text().splitlines()) == len(field_notes())


def test_neither_alone_determines_the_action() -> None:
    rows = pd.DataFrame(field_notes())
    best = {
        name: rows.groupby(name)["label"].value_counts().groupby(level=0).max().sum() / len(rows)
        for name in ("disease", "spray")
    }
    assert best["disease"] <= 0.63
    assert best["spray"] <= 0.51
    assert rows.groupby(["disease", "spray"])["label"].nunique().max() == 1


def test_a_note_says_the_spray_and_not_the_action_and_a_picture_is_on_one_side() -> None:
    rows = pd.DataFrame(field_notes())
    sulphur = rows["text"].str.contains("(?i)sulphur")
    copper = rows["text"].str.contains("(?i)copper|bordeaux")
    assert (sulphur == (rows["spray"] == "sulphur")).all()
    assert (copper == (rows["spray"] == "copper")).all()
    assert not rows["text"].str.contains("leave|wait").any()
    assert rows.groupby("file_name")["split"].nunique().max() == 1
    assert (rows["split"] == "test").mean() == 0.25
