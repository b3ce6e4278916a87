"""What a search refuses, before and after it has a model."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from click.testing import CliRunner

from regraft.cli.main import cli
from regraft.data import pairs
from regraft.data.images import inspect_image
from regraft.data.pair_files import PairFile
from regraft.errors import UserError
from regraft.serving import search as room
from regraft.serving.pair_alignment import searched_pairs
from regraft.serving.search import search
from tests.backbones.texts import WORDS, tiny_folder
from tests.data.test_pair_files import picture as pair_picture

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


def test_other_texts_are_another_index(tmp_path: Path) -> None:
    embedded: list[list[str]] = []

    def sides(values: list[PairFile]) -> tuple[Any, Any]:
        embedded.append([str(value.text) for value in values])
        return None, np.eye(len(values))

    for texts in (["a", "b", "b"], ["a", "b", "b"], ["a", "c", "c"]):
        rows = pd.DataFrame({"id": ["1", "2", "3"], "text": texts, "group": "g", "path": "p"})
        index = room._index(sides, rows, room._TEXT, tmp_path)
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
        return searched_pairs(tmp_path, tmp_path / "kept")

    first = searched()
    assert sorted(opened) == ["a.png", "b.png"]
    pd.testing.assert_frame_equal(searched(), first)
    assert opened == []
    (tmp_path / "b.png").write_bytes(picture(7) + b"longer")
    assert searched()["group"].tolist() != first["group"].tolist() and opened == ["b.png"]
    table.write_text(table.read_text() + "c.png,five\n")
    assert len(searched()) == 4 and opened == ["c.png"]


@pytest.fixture
def captions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A recipe, beside a table of pictures whose caption says which of two they are; no label."""
    monkeypatch.setenv("REGRAFT_HOME", str(tmp_path / "home"))
    folder, rng = tmp_path / "photos", np.random.default_rng(0)
    folder.mkdir()
    rows = ["file_name,caption,split"]
    for number in range(60):
        name = f"{number % 2}-{number}.png"
        (folder / name).write_bytes(pair_picture(number % 2, 48 + number))
        said = " ".join([*rng.choice(WORDS[10:20], 3), ["asthma", "fever"][number % 2]])
        rows.append(f"{name},{said},{'test' if number % 5 == 0 else 'train'}")
    (folder / "metadata.csv").write_text("\n".join(rows) + "\n")
    text = {"name": str(tiny_folder(tmp_path / "text")), "taps": 1}
    recipe = {
        "name": "captions", "task": "image_text_classification", "data": {"root": str(folder)},
        "backbone": {"name": "starter", "image_size": 64, "text": text}, "features": {"taps": 1},
    }  # fmt: skip
    path = tmp_path / "captions.yaml"
    path.write_text(yaml.safe_dump(recipe))
    return path


def _asked(recipe: Path, *arguments: str) -> tuple[list[dict[str, Any]], str]:
    among = str(recipe.parent / "photos")
    done = CliRunner().invoke(cli, ["search", str(recipe), "--among", among, "--json", *arguments])
    assert done.exit_code == 0, (done.output, done.exception)
    return json.loads(done.stdout), done.stderr


def test_pairs_without_a_label_are_searched_by_encoders_aligned_on_them(captions: Path) -> None:
    for number, word in enumerate(["asthma", "fever"]):
        found, said = _asked(captions, "--text", word, "-k", "10")
        names = [Path(one["item"]).name for one in found]
        assert sum(name.startswith(f"{number}-") for name in names) >= 9, names
        assert ("aligned on 48 pairs of 48 images" in said) == (number == 0), "fitted once"
        assert ("held out: among 12 images" in said) == (number == 0)
    photo = str(captions.parent / "photos" / "1-1.png")
    found, _ = _asked(captions, "--image", photo)
    assert sum("fever" in one["item"] for one in found) >= 4
    other, said = _asked(captions, "features.taps=0", "--text", "fever")
    assert "aligned on" in said and other


def test_only_a_recipe_of_pairs_is_aligned(captions: Path) -> None:
    given = ["--text", "fever", "--among", "."]
    done = CliRunner().invoke(cli, ["search", "name", "features.taps=0", *given])
    assert isinstance(done.exception, UserError) and "only a recipe" in str(done.exception)
    done = CliRunner().invoke(cli, ["search", str(captions), "task=image_classification", *given])
    assert isinstance(done.exception, UserError) and "no pairs to search" in str(done.exception)
