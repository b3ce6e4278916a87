"""`strategy: auto` follows the rules, finds what helps, moves nothing where nothing does."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from regraft.data.examples.leaves import draw_leaf
from regraft.recipe.finetune import FinetuneOptions
from regraft.steps import finetune as step
from regraft.steps.choosing import chosen_strategy
from regraft.steps.extract_features import extract_features
from regraft.steps.validate_data import validate_data
from regraft.training.loop import Diverged
from regraft.training.losses import classification_loss
from regraft.training.optimisation import Optimisation
from regraft.training.planned import fine_tune_by_plan
from regraft.training.ports import Ports
from regraft.training.selection import validation_score
from regraft.training.sources import Data
from regraft.training.trunk_store import TrunkStore
from tests.training.support import Halves, classifier, split

OPTIONS = FinetuneOptions(strategy="auto", batch_size=8).model_dump(mode="json")
FACTS: dict[str, Any] = {
    "smallest_class": 20, "validation_examples": 16, "probe_accuracy": 0.9, "shifted": False,
    "adapted": False, "seed": 0,
}  # fmt: skip


def epochs(losses: list[float], error: float = 0.02) -> dict[str, Any]:
    return {"epochs": [{"val_loss": loss, "val_loss_error": error} for loss in losses]}


def by_rate(model: Any, options: dict[str, Any], folder: Path) -> dict[str, Any]:
    """A training whose loss falls with the rate, and diverges at the largest one."""
    folder.mkdir(parents=True)
    rate = options["optimiser"]["learning_rate"]
    if rate > 9e-4:
        raise Diverged("training diverged")
    return {"stages": [epochs([0.5]), epochs([0.6, 0.45 - 1000 * rate])]}


@pytest.mark.parametrize(
    ("fact", "words"),
    [
        ({"smallest_class": 5}, "5 training labels in the smallest class"),
        ({"validation_examples": 0}, "no validation split"),
        ({"adapted": True, "shifted": True}, "the target has shifted"),
        ({"probe_accuracy": 0.99}, "the probe is right on 99.0%"),
    ],
    ids=["few labels", "no validation", "adapted", "probe is enough"],
)
def test_a_rule_leaves_the_head_alone_and_trains_nothing(
    fact: dict[str, Any], words: str, tmp_path: Path
) -> None:
    def never(*_: Any) -> dict[str, Any]:
        raise AssertionError("a rule needs no trial")

    options, card = chosen_strategy(None, OPTIONS, never, **(FACTS | fact), work_dir=tmp_path)
    assert options == OPTIONS | {"plan": {"kind": "head_only"}}
    assert card["chosen"] == "head only" and card["rungs"] == []
    assert words in card["reason"]


def test_the_best_candidate_goes_on_and_the_rest_of_the_recipe_stays(tmp_path: Path) -> None:
    options, card = chosen_strategy(None, OPTIONS, by_rate, **FACTS, work_dir=tmp_path)
    assert options["optimiser"]["learning_rate"] == pytest.approx(3e-4)
    assert "rate x 3" in card["chosen"]
    changed = {name for name in OPTIONS if options[name] != OPTIONS[name]}
    assert changed <= {
        "plan", "optimiser", "objectives", "label_smoothing", "mixup_alpha", "averaging",
    }  # fmt: skip
    rungs = card["rungs"]
    assert [len(rung["candidates"]) for rung in rungs] == [12, 4, 2]
    assert {rung["probe_loss"] for rung in rungs} == {0.5}
    diverged = [one for one in rungs[0]["candidates"] if one["val_loss"] is None]
    assert diverged and not any(one["kept"] for one in diverged)
    assert "20 training labels" in card["reason"] and "0.5 for the head alone" in card["reason"]


def test_the_choice_is_the_same_again(tmp_path: Path) -> None:
    def chosen(folder: str) -> Any:
        (tmp_path / folder).mkdir()
        return chosen_strategy(None, OPTIONS, by_rate, **FACTS, work_dir=tmp_path / folder)

    assert chosen("a") == chosen("b")


def test_nothing_moves_where_no_candidate_is_better_than_the_head(tmp_path: Path) -> None:
    def worse(model: Any, options: dict[str, Any], folder: Path) -> dict[str, Any]:
        return {"stages": [epochs([0.5]), epochs([0.51, 0.5])]}

    options, card = chosen_strategy(None, OPTIONS, worse, **FACTS, work_dir=tmp_path)
    assert options["plan"] == {"kind": "head_only"}
    assert card["chosen"] == "head only" and len(card["rungs"]) == 3
    assert "none lowers the validation loss" in card["reason"]


@pytest.mark.parametrize(("error", "moves"), [(0.04, True), (0.06, False), (math.inf, False)])
def test_blocks_move_for_a_gain_of_more_than_a_standard_error(
    error: float, moves: bool, tmp_path: Path
) -> None:
    """Every candidate lowers the loss from 0.5 to 0.45: on few examples that is noise."""

    def better(model: Any, options: dict[str, Any], folder: Path) -> dict[str, Any]:
        return {"stages": [epochs([0.5], error), epochs([0.6, 0.45], error)]}

    options, card = chosen_strategy(None, OPTIONS, better, **FACTS, work_dir=tmp_path)
    assert (card["chosen"] != "head only") == moves
    assert (options["plan"] != {"kind": "head_only"}) == moves
    assert "standard error" in card["reason"]


def test_real_trials_leave_the_model_as_it_was(tmp_path: Path) -> None:
    model, train, validation = classifier(), split(24), split(16)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    store = TrunkStore(tmp_path / "trunks", 2**28)

    def trained(model: Any, options: dict[str, Any], folder: Path) -> dict[str, Any]:
        return fine_tune_by_plan(
            model, options["plan"],
            data=Data(Halves(24), Halves(16, seed=1), cached_views=1),
            loss=classification_loss(train, mixup_alpha=options["mixup_alpha"], class_balance=False,
                                     label_smoothing=options["label_smoothing"]),
            score=validation_score(validation.labels),
            optimisation=Optimisation(**options["optimiser"], batch_size=8),
            ports=Ports(objectives=options["objectives"], averaging=options["averaging"]),
            trunks=store, work_dir=folder, seed=0,
        )  # fmt: skip

    options = OPTIONS | {"search": {"candidates": 4, "budget_epochs": 8}}
    chosen, card = chosen_strategy(model, options, trained, **FACTS, work_dir=tmp_path)
    assert all(value.equal(before[name]) for name, value in model.state_dict().items())
    assert [len(rung["candidates"]) for rung in card["rungs"]] == [4, 2]
    assert not list((tmp_path / "search").iterdir())
    first, last = card["rungs"][0], card["rungs"][-1]
    assert first["probe_loss"] > last["candidates"][0]["val_loss"]
    history = trained(model, chosen, tmp_path / "in full")
    best = min(e["val_loss"] for s in history["stages"] for e in s["epochs"])
    assert best < first["probe_loss"]


@pytest.mark.parametrize("least", [0, 1000], ids=["searched", "by rule"])
def test_the_step_writes_down_what_it_chose(
    least: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From photos to history.json, and the trained stages are those of the choice."""
    monkeypatch.setenv("REGRAFT_HOME", str(tmp_path / "home"))
    for label in ("healthy", "powdery_mildew"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for index in range(28):
            file = tmp_path / "photos" / label / f"{index}.jpg"
            Image.fromarray(draw_leaf("lab", label, index)).save(file, quality=90)
    task: dict[str, Any] = {"task": "image_classification", "seed": 0}
    read: dict[str, Any] = {
        "manifest": tmp_path / "data" / "manifest.parquet", "features": tmp_path / "features",
    }  # fmt: skip
    validate_data(**task, data={"root": str(tmp_path / "photos")}, out_dir=tmp_path / "data")
    extract_features(
        **task, manifest=read["manifest"], backbone={"name": "starter"}, threads=1,
        features={"views": 1, "augmented_views": 0}, out_dir=read["features"],
    )  # fmt: skip
    options = {
        "strategy": "auto", "search": {"candidates": 2, "budget_epochs": 2}, "threads": 1,
        "min_labels_per_class": least, "batch_size": 8,
    }  # fmt: skip
    step.finetune(
        **task, **read, options=options, test_views=1, code_version="c0de", out_dir=tmp_path
    )
    history = json.loads((tmp_path / "history.json").read_text(encoding="utf-8"))
    strategy = history["strategy"]
    assert len(strategy["rungs"]) == (0 if least else 1)
    assert (len(history["stages"]) > 1) == (strategy["chosen"] != "head only")
    assert "no shift was found" in strategy["reason"] or "1000" in strategy["reason"]
