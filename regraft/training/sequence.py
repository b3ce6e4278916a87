"""Learning tasks one after the other with one model whose head grows.

After every task the model answers the test examples of all tasks, without being told which task an
example belongs to (class-incremental learning: van de Ven et al., "Three types of incremental
learning", Nature Machine Intelligence 2022). From one task to the next only the weights and the
remembered examples are carried over, at most so many per class.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import torch

from regraft.backbones.heads import LinearHead
from regraft.progress import note
from regraft.training.checkpoints import load_checkpoint, save_checkpoint
from regraft.training.examples import Split
from regraft.training.inputs import Views
from regraft.training.known_features import KnownFeatures
from regraft.training.losses import classification_loss
from regraft.training.optimisation import Optimisation
from regraft.training.ports import Ports
from regraft.training.probe import fit_probe
from regraft.training.progressive import fine_tune
from regraft.training.selection import validation_score
from regraft.training.sequence_methods import METHODS, Method
from regraft.training.sequence_tasks import Tasks, remembered
from regraft.training.sources import Data
from regraft.training.trunk_store import TrunkStore
from regraft.transfer import plans
from regraft.transfer.stage import Stage


@dataclass(frozen=True)
class Learner:
    """What all methods have in common.

    Attributes
    ----------
    model : a model with these classes and the pre-trained backbone, its head untrained.
    widened : a model with these classes around the backbone of another model.
    views : training views of rows; `embed`: embeddings (n, dim) of rows, as the model answers.
    features : (rows, dim) of all rows by the pre-trained backbone.
    temperature : of held-out logits and labels; the head that is trained further is divided by it.
    loss : options of `classification_loss`.
    head : the stage in which a grown head is trained by gradient.
    """

    model: Callable[[list[str]], Any]
    widened: Callable[[Any, list[str]], Any]
    views: Callable[[Any, pd.DataFrame], Views]
    embed: Callable[[Any, pd.DataFrame], np.ndarray]
    features: np.ndarray
    temperature: Callable[[np.ndarray, np.ndarray], float]
    plan: dict[str, Any]
    head: Stage
    optimisation: Optimisation
    ports: Ports
    loss: dict[str, Any]
    cached_views: int
    trunks: TrunkStore | None
    memory_per_class: int
    seed: int


@dataclass
class Learned:
    """Where a method stands after some tasks.

    Attributes
    ----------
    accuracy : after each task, on the test examples of every task: row i of R.
    memory : positions of the remembered rows.
    """

    model: Any
    accuracy: list[list[float]]
    memory: np.ndarray


def learn_tasks(tasks: Tasks, method: str, learner: Learner, work_dir: Path) -> Learned:
    """Learn the tasks in order by a method of `METHODS`.

    A call with the same folder continues after the last task that was completed there, and within
    a task after its last epoch.

    Raises
    ------
    UserError
        Training diverged, or the disk is full.
    """
    checkpoint = work_dir / "tasks.pt"
    learned = _resumed(tasks, learner, checkpoint)
    for task in range(len(learned.accuracy), len(tasks)):
        folder = work_dir / f"task{task}"
        run = _Task(tasks, task, METHODS[method], learner, folder)
        run.learn(learned)
        learned.accuracy.append(run.accuracies(learned.model))
        save_checkpoint(checkpoint, _state(learned))
        shutil.rmtree(folder, ignore_errors=True)
        shown = ", ".join(f"{value:.1%}" for value in learned.accuracy[-1][: task + 1])
        note(f"{method}: after {tasks.names[task]} {shown}")
    return learned


def _state(learned: Learned) -> dict[str, Any]:
    return {
        "model": learned.model.state_dict(),
        "accuracy": learned.accuracy,
        "memory": learned.memory.tolist(),
    }


def _resumed(tasks: Tasks, learner: Learner, checkpoint: Path) -> Learned:
    state = load_checkpoint(checkpoint)
    if state is None:
        return Learned(learner.model(tasks.seen(0)), [], np.zeros(0, dtype=int))
    model = learner.model(tasks.seen(len(state["accuracy"]) - 1))
    model.load_state_dict(state["model"])
    return Learned(model, state["accuracy"], np.array(state["memory"], dtype=int))


class _Task:
    """One task of a sequence for one method."""

    def __init__(
        self, tasks: Tasks, task: int, method: Method, learner: Learner, folder: Path
    ) -> None:
        self.tasks, self.task, self.learner, self.folder = tasks, task, learner, folder
        self.method = method if task else Method(refits=True)
        self.everything = method.everything
        self.classes = tasks.seen(task)
        self.moves = learner.plan["kind"] != "head_only"
        so_far = range(task + 1) if method.everything else [task]
        self.new = tasks.positions("train", *so_far)

    def learn(self, learned: Learned) -> None:
        """Bring model and memory of `learned` to the end of this task."""
        rows, learner = self.tasks.rows, self.learner
        old = learned.memory
        if self.everything:
            model = learner.model(self.classes)
            old = old[:0]
        else:
            model = _grown(learned.model, self.classes, learner.widened)
        if self.method.refits:
            self._refit(model, np.concatenate([old, self.new]))
        stages = self._stages(model)
        if stages:
            self._train(model, stages, old)
            plans.finish(learner.plan, model)
            if self.method.refits and len(old):
                self._refit(model, np.concatenate([old, self.new]))
        learned.model = model.eval()
        learned.memory = remembered(
            rows, old, self.new, per_class=learner.memory_per_class, seed=learner.seed
        )

    def accuracies(self, model: Any) -> list[float]:
        """Of the test examples of every task; those of classes not yet seen are all wrong."""
        names, labels = np.array(self.classes), self.tasks.rows["label"].to_numpy(str)
        found = []
        for task in range(len(self.tasks)):
            chosen = self.tasks.positions("test", task)
            with torch.inference_mode():
                features = torch.from_numpy(self._features(model, chosen)).float()
                answers = model.head(features.to(model.encoder.device)).argmax(1).cpu().numpy()
            found.append(float((names[answers] == labels[chosen]).mean()))
        return found

    def _features(self, model: Any, positions: np.ndarray) -> np.ndarray:
        if not self.moves:
            return self.learner.features[positions]
        return self.learner.embed(model, self.tasks.rows.iloc[positions])

    def _refit(self, model: Any, positions: np.ndarray) -> None:
        known, learner = self.tasks.rows.iloc[positions], self.learner
        features = self._features(model, positions)
        model.set_head(
            *closed_form(known, features, self.classes, learner.temperature, seed=learner.seed)
        )

    def _stages(self, model: Any) -> list[Stage]:
        plan = self.learner.plan
        plans.prepare(plan, model, seed=self.learner.seed)
        stages = plans.stages_of(plan, len(model.encoder.blocks))
        return stages if self.method.refits else [self.learner.head, *stages]

    def _train(self, model: Any, stages: Sequence[Stage], memory: np.ndarray) -> None:
        learner, train = self.learner, self._split(self.new)
        old = self._split(memory) if self.method.remembers else None
        views = learner.views(model.encoder, train.rows)
        old_views = learner.views(model.encoder, old.rows) if old else None
        known = KnownFeatures()
        if not self.moves:
            known.add(views, learner.features[self.new])
            if old_views is not None:
                known.add(old_views, learner.features[memory])
        fine_tune(
            model,
            stages,
            data=Data(
                train=views,
                old=old_views,
                old_labels=old.labels if old else None,
                cached_views=learner.cached_views,
            ),
            loss=classification_loss(train, **learner.loss),
            score=validation_score(train.labels),
            optimisation=learner.optimisation,
            work_dir=self.folder,
            seed=learner.seed,
            ports=self.method.ports(learner.ports, remembered=len(memory)),
            trunks=learner.trunks if self.moves else cast(TrunkStore, known),
        )

    def _split(self, positions: np.ndarray) -> Split:
        rows = self.tasks.rows.iloc[positions].reset_index(drop=True)
        numbers = {name: index for index, name in enumerate(self.classes)}
        return Split(rows, rows["label"].map(numbers).to_numpy(dtype=int), len(self.classes))


def closed_form(
    rows: pd.DataFrame,
    features: np.ndarray,
    classes: list[str],
    temperature: Callable[[np.ndarray, np.ndarray], float],
    *,
    seed: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Weight (classes, dim) and bias (classes,) of ridge regression on these rows, its strength and
    its temperature chosen on held-out folds. With one class there is nothing to tell apart:
    zeros."""
    if len(classes) == 1:
        return np.zeros((1, features.shape[1])), np.zeros(1)
    probe = fit_probe(rows.assign(split="train"), features, seed=seed, kind="ridge")
    scale = 1.0
    if len(probe.held_out_labels):
        scale = 1 / temperature(probe.held_out_logits, probe.held_out_labels)
    head = cast(LinearHead, probe.head)
    order = [probe.classes.index(name) for name in classes]
    return head.weight[order] * scale, head.bias[order] * scale


def _grown(model: Any, classes: list[str], widened: Callable[[Any, list[str]], Any]) -> Any:
    """The model with rows of zeros for the classes that are new."""
    grown = widened(model, classes)
    head = model.head.state_dict()
    weight, bias = head["weight"].cpu().numpy(), head["bias"].cpu().numpy()
    more = len(classes) - len(bias)
    grown.set_head(np.pad(weight, ((0, more), (0, 0))), np.pad(bias, (0, more)))
    return grown
