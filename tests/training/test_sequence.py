"""Tasks one after the other: naive training forgets, replay does not; memory stays bounded."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
import pytest
import torch

from regraft.backbones.encoder import Encoder
from regraft.backbones.loading import load_pretrained
from regraft.evaluation.continual import continual_metrics
from regraft.recipe.averaging import Averaging
from regraft.tasks.classifier import Classifier
from regraft.training import sequence, stage_module
from regraft.training.optimisation import Optimisation
from regraft.training.ports import Ports
from regraft.training.sequence import Learned, Learner, closed_form, learn_tasks
from regraft.training.sequence_methods import METHODS
from regraft.training.sequence_tasks import Tasks, remembered
from regraft.transfer import averaging
from regraft.transfer.batches.replay import memory_loss
from regraft.transfer.stage import Stage

CLASSES = [["a", "b"], ["c", "d"], ["e"]]
TRAIN, TEST, KEPT, SIZE = 12, 6, 4, 64
REPLAY = {"size": 0, "choice": "class_balanced", "batch_size": 16, "alpha": 0.5, "beta": 0.5}


class Stripes:
    """Views of generated pictures: the class is where the bright stripe is."""

    def __init__(self, rows: pd.DataFrame) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def fingerprint(self) -> str:
        return " ".join(self.rows["path"])

    def at_size(self, image_size: int) -> Stripes:
        return self

    def batch(self, indices: np.ndarray, views: np.ndarray) -> torch.Tensor:
        return torch.stack([self._one(self.rows.iloc[int(i)]) for i in indices])

    def _one(self, row: Any) -> torch.Tensor:
        rng = np.random.default_rng(int(row["number"]))
        picture = rng.normal(0, 0.5, (3, SIZE, SIZE)).astype(np.float32)
        start = 12 * "abcde".index(row["label"])
        picture[:, :, start : start + 12] += 1.5
        return torch.from_numpy(picture)


def three_tasks() -> Tasks:
    rows = pd.DataFrame(
        [
            {"label": label, "task": task, "split": "train" if i < TRAIN else "test"}
            for task, own in enumerate(CLASSES)
            for label in own
            for i in range(TRAIN + TEST)
        ]
    )
    rows["number"] = range(len(rows))
    rows["path"] = rows["group"] = rows["number"].astype(str)
    return Tasks(rows, ["first", "second", "third"], CLASSES)


def new_model(classes: list[str]) -> Classifier:
    torch.manual_seed(0)
    spec, network = load_pretrained("test_efficientnet", weights="random", image_size=SIZE)
    return Classifier(Encoder(spec, network), classes).eval()


@torch.inference_mode()
def embed(model: Any, rows: pd.DataFrame) -> np.ndarray:
    indices = np.arange(len(rows))
    found: np.ndarray = model.encoder(Stripes(rows).batch(indices, 0 * indices)).numpy()
    return found


@pytest.fixture(scope="module")
def learner() -> Learner:
    return Learner(
        model=new_model,
        widened=lambda old, classes: Classifier(old.encoder, classes),
        views=lambda encoder, rows: Stripes(rows),
        embed=embed,
        features=embed(new_model(["any"]), three_tasks().rows),
        temperature=lambda logits, labels: 0.1,
        plan={"kind": "head_only"},
        head=Stage("grown head", frozenset(), 10, rate_factor=100.0),
        optimisation=Optimisation(learning_rate=1e-3, head_learning_rate=1e-4, batch_size=8),
        ports=Ports(replay=REPLAY),
        loss={"label_smoothing": 0.0, "mixup_alpha": 0.0, "class_balance": True},
        cached_views=1,
        trunks=None,
        memory_per_class=KEPT,
        seed=0,
    )


def test_naive_training_forgets_and_replay_stays_near_joint(
    learner: Learner, tmp_path: Path
) -> None:
    tasks = three_tasks()
    found = {
        name: learn_tasks(tasks, name, learner, tmp_path / name)
        for name in ("replay", "naive", "joint")
    }
    forgotten = {name: continual_metrics(one.accuracy)["forgetting"] or 0.0
                 for name, one in found.items()}  # fmt: skip
    assert forgotten["naive"] > 0.2
    assert forgotten["replay"] < 0.05
    average = {name: continual_metrics(one.accuracy)["average_accuracy"] or 0.0
               for name, one in found.items()}  # fmt: skip
    assert average["replay"] > average["joint"] - 0.05
    assert average["replay"] > average["naive"] + 0.2
    rows = [one.accuracy[0] for one in found.values()]
    assert rows[0] == rows[1] == rows[2], "nothing distinguishes the methods on the first task"
    assert all(value == 0 for value in rows[0][1:]), "a class not seen yet cannot be named"


def test_the_first_task_s_accuracy_is_that_of_the_head_on_its_classes(
    learner: Learner, tmp_path: Path
) -> None:
    tasks = three_tasks()
    learned = learn_tasks(tasks, "joint", learner, tmp_path)
    everything = tasks.positions("train", 0, 1, 2)
    classes = tasks.seen(2)
    weight, bias = closed_form(
        tasks.rows.iloc[everything], learner.features[everything], classes,
        learner.temperature, seed=0,
    )  # fmt: skip
    test = tasks.positions("test", 1)
    answers = np.array(classes)[(learner.features[test] @ weight.T + bias).argmax(1)]
    expected = float((answers == tasks.rows["label"].to_numpy(str)[test]).mean())
    assert learned.accuracy[-1][1] == pytest.approx(expected)


@pytest.mark.parametrize("method", ["lwf", "a_gem", "wise_ft"])
def test_an_alternative_is_not_naive_training(
    method: str, learner: Learner, tmp_path: Path
) -> None:
    tasks = three_tasks()
    naive, other = (learn_tasks(tasks, name, learner, tmp_path / name)
                    for name in ("naive", method))  # fmt: skip
    assert not torch.equal(naive.model.head.weight, other.model.head.weight)
    if method == "lwf":
        assert other.accuracy[1][1] > 0.5, "holding old answers is not refusing new classes"


@pytest.mark.parametrize("kind", averaging.KINDS)
def test_averaged_weights_keep_the_rows_of_new_classes(
    kind: str, learner: Learner, tmp_path: Path
) -> None:
    """They begin at zero: an average that counts the start makes them shorter than they were."""
    tasks = three_tasks()
    (own,) = (one for one in get_args(get_args(Averaging)[0])
              if one.model_fields["kind"].default == kind)  # fmt: skip
    averaged = replace(learner, ports=replace(learner.ports, averaging=[own().model_dump()]))
    plain, other = (learn_tasks(tasks, "naive", one, tmp_path / str(number)).model.head.weight[-1]
                    for number, one in enumerate((learner, averaged)))  # fmt: skip
    assert other.norm() > 0.7 * plain.norm()


def test_replayed_answers_are_those_of_the_classes_that_were_known(
    learner: Learner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """EWC remembers; with the recipe's replay beside it, old examples are held at old answers."""
    unknown = []

    def recorded(logits: Any, stored: torch.Tensor, *rest: Any, **options: Any) -> Any:
        unknown.append(stored.isnan().all(0).tolist())
        assert stored[:, :2].isfinite().all()
        return memory_loss(logits, stored, *rest, **options)

    monkeypatch.setattr(stage_module, "memory_loss", recorded)
    two = Tasks(three_tasks().rows.query("task < 2"), ["first", "second"], CLASSES[:2])
    moving = replace(learner, plan={"kind": "last_n", "blocks": 1, "epochs": 1, "image_sizes": []},
                     head=Stage("grown head", frozenset(), 1),
                     ports=Ports(replay=REPLAY | {"size": 8}))  # fmt: skip
    learn_tasks(two, "ewc", moving, tmp_path)
    assert unknown and set(map(tuple, unknown)) == {(False, False, True, True)}


@pytest.mark.parametrize("method", ["replay", "naive", "ewc", "l2_sp"])
def test_blocks_move_as_the_plan_says(method: str, learner: Learner, tmp_path: Path) -> None:
    tasks = three_tasks()
    moving = replace(learner, plan={"kind": "last_n", "blocks": 1, "epochs": 1, "image_sizes": []},
                     head=Stage("grown head", frozenset(), 2, rate_factor=100.0))  # fmt: skip
    learned = learn_tasks(tasks, method, moving, tmp_path)
    before, after = new_model(["any"]).encoder, learned.model.encoder
    last = after.blocks[-1].index
    moved = {
        block.index
        for block in after.blocks
        if any(
            not torch.equal(x, y)
            for x, y in zip(
                before.parameters_of(block.index), after.parameters_of(block.index), strict=True
            )
        )
    }
    assert moved == {last}
    assert np.shape(learned.accuracy) == (3, 3)


def test_the_features_after_a_move_are_those_of_the_moved_backbone(
    learner: Learner, tmp_path: Path
) -> None:
    """The accuracy that is reported is that of the model that comes out."""
    tasks = three_tasks()
    moving = replace(learner, plan={"kind": "full", "epochs": 1, "image_sizes": []})
    learned = learn_tasks(tasks, "replay", moving, tmp_path)
    test = tasks.positions("test", 0)
    features = torch.from_numpy(embed(learned.model, tasks.rows.iloc[test]))
    answers = np.array(tasks.seen(2))[learned.model.head(features).argmax(1).numpy()]
    expected = float((answers == tasks.rows["label"].to_numpy(str)[test]).mean())
    assert learned.accuracy[-1][0] == pytest.approx(expected)


def test_the_memory_is_bounded_and_holds_training_examples_only(
    learner: Learner, tmp_path: Path
) -> None:
    tasks = three_tasks()
    learned = learn_tasks(tasks, "replay", learner, tmp_path)
    kept = tasks.rows.iloc[learned.memory]
    assert kept["label"].value_counts().to_dict() == dict.fromkeys("abcde", KEPT)
    assert set(kept["split"]) == {"train"}


def test_replay_reads_no_old_example_that_is_not_remembered(
    learner: Learner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[pd.DataFrame] = []

    def recorded(rows: pd.DataFrame, *rest: Any, **options: Any) -> Any:
        seen.append(rows)
        return closed_form(rows, *rest, **options)

    monkeypatch.setattr(sequence, "closed_form", recorded)
    learn_tasks(three_tasks(), "replay", learner, tmp_path)
    last = seen[-1]["label"].value_counts().to_dict()
    assert last == dict.fromkeys("abcd", KEPT) | {"e": TRAIN}


def test_a_class_that_comes_again_stays_within_its_bound() -> None:
    rows = pd.DataFrame({"label": ["a"] * 20})
    memory = remembered(rows, np.zeros(0, dtype=int), np.arange(10), per_class=4, seed=0)
    again = remembered(rows, memory, np.arange(10, 20), per_class=4, seed=0)
    assert len(memory) == len(again) == 4
    assert (again >= 10).any()


def test_a_full_class_keeps_what_it_remembers() -> None:
    rows = pd.DataFrame({"label": ["a"] * 10 + ["b"] * 10})
    first = remembered(rows, np.zeros(0, dtype=int), np.arange(10), per_class=4, seed=0)
    both = remembered(rows, first, np.arange(10, 20), per_class=4, seed=0)
    assert set(first) <= set(both)


@pytest.mark.parametrize("method", ["replay", "naive"])
def test_a_run_that_was_stopped_continues_to_the_same_end(
    method: str, learner: Learner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks = three_tasks()
    whole = learn_tasks(tasks, method, learner, tmp_path / "whole")
    learn = sequence._Task.learn

    def stopped(self: Any, learned: Learned) -> None:
        if self.task == 2:
            raise KeyboardInterrupt
        learn(self, learned)

    monkeypatch.setattr(sequence._Task, "learn", stopped)
    with pytest.raises(KeyboardInterrupt):
        learn_tasks(tasks, method, learner, tmp_path / "parts")
    learned_again: list[int] = []

    def counted(self: Any, learned: Learned) -> None:
        learned_again.append(self.task)
        learn(self, learned)

    monkeypatch.setattr(sequence._Task, "learn", counted)
    parts = learn_tasks(tasks, method, learner, tmp_path / "parts")
    assert learned_again == [2]
    assert parts.accuracy == whole.accuracy
    assert parts.memory.tolist() == whole.memory.tolist()
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, parts.model.state_dict()[name]), name


def test_what_the_recipe_says_about_a_method_s_term_is_kept() -> None:
    base = Ports(objectives=[{"kind": "lwf", "strength": 7.0, "temperature": 1.0}], replay=REPLAY)
    assert METHODS["lwf"].ports(base, remembered=0).objectives == base.objectives
    assert [one["kind"] for one in METHODS["ewc"].ports(base, remembered=3).objectives] == [
        "lwf",
        "ewc",
    ]
