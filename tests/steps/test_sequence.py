"""The step and the verb: tasks from names, a report, an example recipe that works offline."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from regraft.cli import main as command_line
from regraft.data.examples.leaves import generate_leaves
from regraft.errors import UserError
from regraft.recipe.data import DataOptions
from regraft.recipe.sequence import SequenceOptions
from regraft.steps.sequence_tasks import planned_tasks

RECIPE = Path(__file__).parents[2] / "recipes" / "plant_sequence.yaml"


@pytest.fixture
def crops(tmp_path: Path) -> Path:
    for folder in ("lab/apple_scab", "lab/apple_rot", "lab/tomato_rust", "field/bean_rust"):
        (tmp_path / folder).mkdir(parents=True)
        Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / folder / "0.png")
    return tmp_path


def planned(root: Path, *, data: dict[str, Any] | None = None, **options: Any) -> list[Any]:
    given = {"root": str(root), "source_domain": "lab", **(data or {})}
    return planned_tasks(
        DataOptions(**given).model_dump(mode="json"),
        SequenceOptions(**options).model_dump(mode="json"),
    )


def test_tasks_are_found_by_the_first_word_of_their_classes(crops: Path) -> None:
    found = planned(crops)
    assert [(one.name, one.classes) for one in found] == [
        ("apple", ["apple_rot", "apple_scab"]),
        ("tomato", ["tomato_rust"]),
    ]
    assert [one.name for one in planned(crops, order=["tomato", "apple"])] == ["tomato", "apple"]
    chosen = planned(crops, data={"classes": ["apple_rot", "tomato_rust"]})
    assert [one.classes for one in chosen] == [["apple_rot"], ["tomato_rust"]]


def test_a_task_may_lie_in_another_domain(crops: Path) -> None:
    found = planned(crops, tasks=[{"name": "apple"}, {"name": "bean", "domain": "field"}])
    assert [(one.domain, one.classes) for one in found] == [
        ("lab", ["apple_rot", "apple_scab"]),
        ("field", ["bean_rust"]),
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"order": ["pear", "apple"]}, "no class begins with pear_"),
        ({"order": ["apple"]}, "needs two tasks"),
        ({"tasks": [{"name": "apple"}, {"name": "pear"}]}, "pear has no classes"),
        (
            {"tasks": [{"name": "a", "classes": ["apple_rto"]}, {"name": "tomato"}]},
            "not there",
        ),
        (
            {"tasks": [{"name": "apple"}, {"name": "b", "classes": ["apple_rot"]}]},
            "class comes twice",
        ),
        ({"tasks": [{"name": "apple"}, {"name": "apple"}]}, "task comes twice"),
    ],
)
def test_tasks_that_do_not_fit_are_refused(
    options: dict[str, Any], message: str, crops: Path
) -> None:
    with pytest.raises(UserError, match=message):
        planned(crops, **options)


@pytest.fixture
def regraft(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    monkeypatch.setenv("REGRAFT_HOME", str(tmp_path / "home"))

    def call(*arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["regraft", *arguments])
        try:
            command_line.main()
        except SystemExit as end:
            return int(end.code or 0)
        return 0

    return call


def test_images_have_no_texts_to_read_first(
    regraft: Any, crops: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = regraft(
        "sequence", str(RECIPE), f"data.root={crops}", "features.domain_pretraining.epochs=1"
    )
    assert code == 2
    assert "features.domain_pretraining.epochs" in capsys.readouterr().err


def test_the_example_recipe_shows_what_naive_training_forgets(
    regraft: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    generate_leaves(tmp_path / "leaves", lab_per_class=40, field_per_class=0)
    out = tmp_path / "out"
    code = regraft(
        "sequence", str(RECIPE), f"data.root={tmp_path / 'leaves'}",
        "features.views=1", "--out", str(out),
    )  # fmt: skip
    assert code == 0
    report = json.loads((out / "sequence.json").read_text())
    naive, joint, replay = (report["methods"][name] for name in ("naive", "joint", "replay"))
    assert naive["accuracy"][0][0] - naive["accuracy"][-1][0] > 0.2
    assert replay["below_joint_pp"] < 10  # of 50 test photos
    assert replay["average_accuracy"] > naive["average_accuracy"] + 0.2
    assert replay["remembered"] == 5 * 20
    assert joint["below_joint_pp"] == 0
    shown = capsys.readouterr().out
    assert "replay*" in shown and f"{100 * naive['forgetting']:.1f}" in shown
    assert list(pd.read_csv(out / "sequence.csv")["after"][:3]) == ["stains", "coats", "rust"]
    _answers_as_reported(out, replay["accuracy"][-1])


def _answers_as_reported(out: Path, accuracy: list[float]) -> None:
    from regraft.tasks import load_model

    rows = pd.read_parquet(out / "manifest.parquet")
    test = rows[rows["split"] == "test"]
    answers = load_model(out / "model").predict(test["path"].tolist())
    right = np.array([one["label"] for one in answers]) == test["label"].to_numpy(str)
    for task, expected in enumerate(accuracy):
        assert right[(test["task"] == task).to_numpy()].mean() == pytest.approx(expected)


def test_a_method_that_could_do_nothing_is_refused(
    regraft: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert regraft("sequence", str(RECIPE), "sequence.method=ewc") == 2
    assert "the plan moves none" in capsys.readouterr().err
