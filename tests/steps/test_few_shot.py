"""With few labels blocks learn by contrast where held-out labels say so, and else nothing moves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from regraft.errors import UserError
from regraft.recipe import Recipe
from regraft.steps import few_shot
from regraft.steps.extract_features import extract_features
from regraft.steps.finetune import finetune
from regraft.steps.validate_data import validate_data
from regraft.tasks import load_model
from tests.backbones.texts import tiny_folder
from tests.training.test_contrast_tuning import FORMS, TOPICS

INTENTS = ("symptoms", "causes", "treatment")
QUICK = {"kind": "contrast", "learning_rate": 1e-3, "epochs": 6, "folds": 2}
STEP = {"task": "question_answering", "seed": 0}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six labelled questions per intent, two each that test, and their features."""
    root = tmp_path_factory.mktemp("few")
    lines = [
        json.dumps({"question": form.format(topic), "topic": topic, "intent": intent,
                    "split": "train" if topic in TOPICS else "test"})
        for topic in [*TOPICS, "thirst", "sleep"]
        for form, intent in zip(FORMS, INTENTS, strict=True)
    ]  # fmt: skip
    (root / "q.jsonl").write_text("\n".join(lines), encoding="utf-8")
    recipe = recipe_of(root)
    recipe["backbone"]["name"] = str(tiny_folder(root / "encoder"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REGRAFT_HOME", str(root / "home"))
        validate_data(data=recipe["data"], out_dir=root / "data", **STEP)
        extract_features(
            manifest=root / "data" / "manifest.parquet", backbone=recipe["backbone"],
            features=recipe["features"], threads=0, out_dir=root / "features", **STEP,
        )  # fmt: skip
    return root


def recipe_of(root: Path, **few: Any) -> dict[str, Any]:
    return Recipe.model_validate(
        {
            "name": "tiny", "task": "question_answering", "data": {"root": str(root / "q.jsonl")},
            "features": {"views": 1, "taps": 0}, "finetune": {"few_shot": QUICK | few},
        }
    ).model_dump()  # fmt: skip


def learned(root: Path, out: Path, **few: Any) -> dict[str, Any]:
    """The history of the fine-tuning step."""
    finetune(
        manifest=root / "data" / "manifest.parquet", features=root / "features",
        options=recipe_of(root, **few)["finetune"], test_views=1, code_version="x",
        out_dir=out / "teacher", **STEP,
    )  # fmt: skip
    found: dict[str, Any] = json.loads((out / "teacher" / "history.json").read_text())
    return found


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGRAFT_HOME", str(tmp_path / "home"))


def alone(monkeypatch: pytest.MonkeyPatch, right: float) -> None:
    """The head on frozen features gives held-out labels this probability."""

    def logits(rows: Any, *_: Any) -> np.ndarray:
        truth = rows["label"].to_numpy()[:, None] == np.array(sorted(INTENTS))
        return np.log(np.where(truth, right, (1 - right) / 2))

    monkeypatch.setattr(few_shot, "_held_out_alone", logits)


def test_blocks_that_are_better_on_held_out_labels_become_the_model(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone(monkeypatch, 0.2)
    history = learned(prepared, tmp_path)
    assert history["strategy"]["chosen"] == "contrast, then the head anew"
    assert "head only: log loss" in history["strategy"]["reason"]
    assert [stage["name"] for stage in history["stages"]] == ["contrast, last 3 blocks"]
    model, files = load_model(tmp_path / "teacher"), []
    for number, form in enumerate(FORMS):
        files.append(tmp_path / f"{number}.txt")
        files[-1].write_text(form.format("fever"), encoding="utf-8")
    answers = model.logits([str(file) for file in files]).argmax(1)
    assert [model.classes[answer] for answer in answers] == list(INTENTS)


def test_a_head_on_frozen_features_that_is_better_there_stays(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone(monkeypatch, 1 - 1e-9)
    history = learned(prepared, tmp_path)
    assert "strategy" not in history and history["stages"] == []


def test_nothing_is_tried_where_nobody_asked(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(few_shot, "_held_out_alone", None)  # would fail
    history = learned(prepared, tmp_path, kind="head_only")
    assert "strategy" not in history and history["stages"] == []


def test_a_rate_that_ruins_the_encoder_is_an_error_and_no_model(
    prepared: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="fallen into one point|diverged"):
        learned(prepared, tmp_path, learning_rate=1.0)
    assert not (tmp_path / "teacher").exists()
