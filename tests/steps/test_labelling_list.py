"""What to label next, as a table that feedback takes and as a page."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from regraft.monitoring.new_examples import new_examples
from regraft.steps.labelling_list import write_labelling_list
from tests.steps.test_retraining_data import window


@pytest.fixture
def rows(tmp_path: Path) -> pd.DataFrame:
    """Eight answers, unsure but for the last two; the first has a label, the second is a copy."""
    found = window(tmp_path / "live", [(0, "a"), *((n, None) for n in (0, 1, 2, 3, 4, 5, 6))])
    p = np.array([0.5] * 6 + [0.999] * 2)
    found = found.assign(**{"p:a": p, "p:b": 1 - p, "confidence": p})
    found.to_parquet(tmp_path / "window.parquet")
    np.save(tmp_path / "embeddings.npy", np.eye(8, dtype=np.float16))
    return found


def test_the_most_useful_first_and_nothing_that_is_known(
    tmp_path: Path, rows: pd.DataFrame
) -> None:
    path = write_labelling_list(tmp_path, new_examples(rows), count=6)
    table = pd.read_csv(path, keep_default_na=False)
    assert table.columns.tolist() == ["id", "label", "predicted", "confidence", "path"]
    assert set(table["id"][:4]) == {"i2", "i3", "i4", "i5"}
    assert set(table["label"]) == {""}
    assert not {"i0", "i1"} & set(table["id"])
    page = (tmp_path / "to_label.html").read_text()
    assert page.count("data:image/jpeg;base64,") == 6


def test_names_cannot_break_the_page_and_photos_that_are_gone_are_words(
    tmp_path: Path, rows: pd.DataFrame
) -> None:
    rows["label"] = "<script>"
    rows.to_parquet(tmp_path / "window.parquet")
    examples = new_examples(rows)
    Path(rows["input_path"].iat[3]).unlink()
    write_labelling_list(tmp_path, examples, count=6)
    page = (tmp_path / "to_label.html").read_text()
    assert "<script>" not in page
    assert page.count("<figure>") == 6
