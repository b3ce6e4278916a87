"""What a search refuses, before and after it has a model."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from regraft.cli.main import cli
from regraft.data import pairs
from regraft.data.images import inspect_image
from regraft.data.pair_files import PairFile
from regraft.errors import UserError
from regraft.serving import search as room
from regraft.serving.search import search

from .support import picture


@pytest.mark.parametrize("given", [[], ["--text", "a leaf", "--image", "a.jpg"]])
def test_a_query_is_an_image_or_a_text(given: list[str]) -> None:
    result = CliRunner().invoke(cli, ["search", "name", "--among", ".", *given])
    assert isinstance(result.exception, UserError)
    assert "--text WORDS or --image FILE" in str(result.exception)


def test_a_pair_asks_for_nothing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="an image or a text"):
        search("name", PairFile(b"an image", "and words"), tmp_path)


def test_a_model_without_alignment_is_refused() -> None:
    for head in (SimpleNamespace(), SimpleNamespace(aligned=False)):
        with pytest.raises(UserError, match="cannot search"):
            room._refuse_what_cannot_search(SimpleNamespace(model=SimpleNamespace(head=head)), "x")


def test_other_texts_are_another_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    embedded: list[list[str]] = []

    def vectors(predictor: Any, values: list[PairFile], side: int) -> Any:
        embedded.append([str(value.text) for value in values])
        return np.eye(len(values))

    monkeypatch.setattr(room, "_vectors", vectors)
    model: Any = None
    for texts in (["a", "b", "b"], ["a", "b", "b"], ["a", "c", "c"]):
        rows = pd.DataFrame({"id": ["1", "2", "3"], "text": texts, "group": "g", "path": "p"})
        index = room._index(model, rows, room._TEXT, tmp_path)
        assert index.ids == sorted(set(texts))
    assert embedded == [["a", "b"], ["a", "c"]]


def test_only_images_that_changed_are_opened_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []

    def inspected(path: Path, **options: Any) -> Any:
        opened.append(path.name)
        return inspect_image(path, **options)

    monkeypatch.setattr(pairs, "inspect_image", inspected)
    for name in "abc":
        (tmp_path / f"{name}.png").write_bytes(picture(ord(name)))
    table = tmp_path / "metadata.csv"
    table.write_text("file_name,text\na.png,one\nb.png,two\nb.png,three\ngone.png,four\n")

    def searched() -> Any:
        opened.clear()
        return room._searched(tmp_path, tmp_path / "kept")

    first = searched()
    assert sorted(opened) == ["a.png", "b.png"]
    pd.testing.assert_frame_equal(searched(), first)
    assert opened == []
    (tmp_path / "b.png").write_bytes(picture(7) + b"longer")
    assert searched()["group"].tolist() != first["group"].tolist() and opened == ["b.png"]
    table.write_text(table.read_text() + "c.png,five\n")
    assert len(searched()) == 4 and opened == ["c.png"]
