"""`regraft bench shots` and `strategies` on a few drawn leaves: rows, failures, continuing."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from regraft.bench import inputs, runner
from regraft.bench.cell import Cell
from regraft.cli import main as command_line
from regraft.data.examples.leaves import draw_leaf

CLASSES = ("healthy", "powdery_mildew")
SHOTS = ["lab 5 shots / ridge / *", "lab 5 shots / recipe / *", "lab 5 shots / majority / *"]
Call = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("photos")
    for domain in ("lab", "field"):
        for label in CLASSES:
            (root / domain / label).mkdir(parents=True)
            for index in range(14):
                picture = Image.fromarray(draw_leaf(domain, label, index))
                picture.save(root / domain / label / f"{index}.jpg", quality=90)
    return root


@pytest.fixture
def regraft(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Call]:
    monkeypatch.delenv("REGRAFT_TRACEBACK", raising=False)
    monkeypatch.setattr("pipelines.arguments.code_version", lambda: "c0de")

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["regraft", *arguments])
        code: Any = 0
        try:
            command_line.main()
        except SystemExit as end:
            code = end.code
        shown = capsys.readouterr()
        return int(code or 0), shown.out, shown.err

    yield call


def bench(name: str, photos: Path, out: Path, cells: list[str], *more: str) -> list[str]:
    globs = [word for cell in cells for word in ("--cells", cell)]
    place = ["--data", str(photos), "--weights", "starter", "--out", str(out)]
    return ["bench", name, *place, *globs, "--json", *more]


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("out") / "shots"


@pytest.mark.e2e
def test_a_row_per_cell_and_what_is_finished_is_not_measured_again(
    photos: Path, out: Path, regraft: Call
) -> None:
    code, printed, err = regraft(*bench("shots", photos, out, SHOTS, "--seeds", "2"))
    assert code == 0, err
    rows = json.loads(printed)
    assert [row["cell"] for row in rows] == [
        f"lab 5 shots / {name}" for name in ("majority / none", "ridge / starter",
                                             "recipe / starter")
    ]  # fmt: skip
    for row in rows:
        assert 0 <= row["low"] <= row["mean"] <= row["high"] <= 1
        assert row["seeds"] == len(row["values"]) == 2
        assert row["metric"] == "accuracy"
    majority, ridge, recipe = rows
    assert majority["cpu_seconds"] == 0 < ridge["cpu_seconds"] < recipe["cpu_seconds"]
    assert majority["mean"] <= 0.6 < ridge["mean"]
    assert len(list((out / "cells").iterdir())) == 6
    assert not (out / "work").exists(), "splits and features are removed"
    table = (out / "table.md").read_text(encoding="utf-8")
    assert table.count("\n") == 5

    kept = {path: path.stat().st_mtime_ns for path in (out / "cells").iterdir()}
    lost = sorted(kept)[0]
    lost.unlink()  # as if the bench had been killed before it
    code, printed, err = regraft(*bench("shots", photos, out, SHOTS, "--seeds", "2"))
    assert code == 0
    assert "6 measurements, 1 still to do" in err
    again = json.loads(printed)
    assert [row["mean"] for row in again] == [row["mean"] for row in rows]
    for path in kept.keys() - {lost}:
        assert path.stat().st_mtime_ns == kept[path]


def test_other_data_is_measured_again(photos: Path, tmp_path: Path) -> None:
    before = runner.version_of(photos, [], "c0de")
    (photos / "lab" / CLASSES[0] / "new.txt").write_text("x")
    assert runner.version_of(photos, [], "c0de") != before
    assert runner.version_of(photos, [], "0ther") != before
    cell = Cell("a", {"data.images_per_class": 5})
    assert cell.key(before) != Cell("a", {"data.images_per_class": 6}).key(before)
    assert cell.key(before) == Cell("b", cell.overrides, "teacher.source.accuracy").key(before)


def test_a_cell_that_fails_is_a_row_and_the_others_are_measured(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, regraft: Call
) -> None:
    def cells(data: Path, backbones: list[inputs.Backbone]) -> list[Cell]:
        fields = {"data.root": str(data / "lab"), **backbones[0].overrides}
        bad = {**fields, "data.min_images_per_class": 1000}
        return [
            Cell("bad", bad),
            Cell("good", fields, "majority.test.accuracy", "baselines.majority"),
        ]

    monkeypatch.setattr("regraft.bench.tables.TABLES", {"shots": cells})
    code, printed, err = regraft(*bench("shots", photos, tmp_path, [], "--seeds", "1"))
    assert code == 1
    bad, good = json.loads(printed)
    assert "1000" in bad["error"]
    assert bad["mean"] is bad["low"] is bad["high"] is bad["cpu_seconds"] is None
    assert "FAILED" in err
    assert 0 < good["mean"] < 1
    assert "error" not in good
    assert good["low"] < good["mean"] < good["high"], "Wilson's interval of one seed"
    assert "failed" in (tmp_path / "table.md").read_text(encoding="utf-8")
    assert [json.loads(f.read_text())["cell"] for f in (tmp_path / "cells").iterdir()] == ["good"]


@pytest.mark.e2e
def test_every_kind_of_measurement_answers(photos: Path, tmp_path: Path, regraft: Call) -> None:
    """The peers, a stage with and without its cache, two domains, a strategy of the recipe."""
    shots = ["lab 5 shots / HuggingFace*", "lab 5 shots / textbook*"]
    code, printed, err = regraft(*bench("shots", photos, tmp_path / "a", shots, "--seeds", "1"))
    assert code == 0, err
    assert all(row["mean"] > 0.2 and row["cpu_seconds"] > 0 for row in json.loads(printed))
    wanted = [
        "ten epochs, * head, *",
        "lab to field, 5 field labels / chosen",
        "lab after 5 field labels / *",
    ]
    code, printed, err = regraft(
        *bench("strategies", photos, tmp_path / "b", wanted, "--seeds", "1")
    )
    assert code == 0, err
    rows = json.loads(printed)
    assert len(rows) == 6
    assert all(0.2 < row["mean"] <= 1 for row in rows)
    kept = [json.loads(file.read_text()) for file in (tmp_path / "b" / "cells").iterdir()]
    naive = next(one["figures"] for one in kept if "naive" in one["figures"])
    assert naive["naive"]["test"]["nll"] != naive["before"]["test"]["nll"], "nothing was trained"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--cells", "nothing *"], ["--cells", "nothing *", "majority"]),
        (["--weights", "resnet18=/no/such.safetensors"], ["--weights", "/no/such.safetensors"]),
        (["--data", "/no/such/folder"], ["/no/such/folder", "--data"]),
    ],
)
def test_the_user_s_mistake_is_one_message(
    arguments: list[str], words: list[str], photos: Path, tmp_path: Path, regraft: Call
) -> None:
    given = ["bench", "shots", "--data", str(photos), "--out", str(tmp_path)]
    given += [] if "--weights" in arguments else ["--weights", "starter"]
    code, printed, err = regraft(*given, *arguments)
    assert code == 2, err
    assert printed == ""
    for word in words:
        assert word in err


def test_without_the_packs_the_variable_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, regraft: Call
) -> None:
    monkeypatch.delenv("REGRAFT_DATA", raising=False)
    code, _, err = regraft("bench", "shots", "--out", str(tmp_path))
    assert code == 2
    assert "REGRAFT_DATA" in err
