"""What every filling of every port must keep to, found by the ports' own lists of kinds.

A new kind is covered as soon as it is in `KINDS` and has an options class in the recipe.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch

from regraft.backbones.blocks import norm_and_bias_names
from regraft.recipe.averaging import Averaging
from regraft.recipe.batches import ReplayOptions, Sampling
from regraft.recipe.gradients import Gradients
from regraft.recipe.objectives import FeatureHint, Objective
from regraft.recipe.plans import Plan
from regraft.tasks import image_classification as task
from regraft.tasks.classifier import Classifier
from regraft.training import progressive
from regraft.training.losses import MainLoss, Tensors, classification_loss, distillation_loss
from regraft.training.optimisation import Optimisation
from regraft.training.planned import fine_tune_by_plan
from regraft.training.ports import Ports
from regraft.training.sources import Data
from regraft.training.trunk_store import TrunkStore
from regraft.transfer import averaging, batches, gradients, objectives, plans
from regraft.transfer.objectives.classification import soft_cross_entropy
from regraft.transfer.step import Partners
from tests.training.support import Halves, classifier, split

TRAIN, OLD, EPOCHS = 24, 12, 2
HOW = Optimisation(learning_rate=3e-3, head_learning_rate=1e-2, batch_size=8)
OPTIONS = {
    "plan": (*get_args(get_args(Plan)[0]),),
    "objectives": (*get_args(get_args(Objective)[0]), FeatureHint),
    "gradients": (*get_args(get_args(Gradients)[0]),),
    "sampling": (*get_args(get_args(Sampling)[0]),),
    "averaging": (*get_args(get_args(Averaging)[0]),),
}
SMALL: dict[str, dict[str, Any]] = {
    "gradual_unfreezing": {"depths": [1, 3], "epochs": [EPOCHS, 1]},
    "linear_probe_fine_tune": {"head_epochs": 1},
    "lora": {"rank": 2, "blocks": 3},
    "ewc": {"examples": 8},
    "pseudo_label": {"threshold": 0.5},
    "curriculum": {"start_share": 0.5, "share_of_epochs": 1.0},
}
KINDS = {
    "plan": plans.KINDS,
    "objectives": objectives.KINDS,
    "gradients": gradients.KINDS,
    "sampling": batches.KINDS,
    "averaging": averaging.KINDS,
}
SWITCHES = {
    "image_sizes": {"plan": {"kind": "last_n", "blocks": 2, "epochs": 1, "image_sizes": [48, 64]}},
    "replay": {"replay": ReplayOptions(size=8, batch_size=4).model_dump()},
    "accumulation": {"how": {"accumulation_steps": 2}},
    "dropout": {"how": {"dropout": 0.3}},
    "clip_value": {"how": {"clip_value": 1e-4}},
    "cutmix": {"loss": {"cutmix_alpha": 1.0}},
    "cutmix_and_mixup": {"loss": {"cutmix_alpha": 1.0, "mixup_alpha": 1.0}},
}
PLAIN = {"head_only", "sum", "shuffled"}
"""Kinds that are what the others are compared with."""


@dataclass(frozen=True)
class TwoTasks:
    """Two tasks that disagree, for what happens between several losses."""

    labels: np.ndarray
    n_classes: int = 2
    teacher_dim: int = 0

    def prepare(
        self, inputs: list[torch.Tensor], indices: np.ndarray, views: np.ndarray
    ) -> tuple[list[torch.Tensor], Tensors]:
        return inputs, {"labels": torch.eye(2)[self.labels[indices]]}

    def losses(self, logits: torch.Tensor, wanted: Tensors) -> Tensors:
        labels = wanted["labels"]
        other = soft_cross_entropy(3 * logits, labels.roll(1, 0))
        return {"label:a": soft_cross_entropy(logits, labels), "label:b": other}


@dataclass(frozen=True)
class Case:
    """One strategy in an otherwise plain run."""

    port: str
    kind: str
    changes: dict[str, Any] = field(default_factory=dict, hash=False, compare=False)

    def __str__(self) -> str:
        return f"{self.port}-{self.kind}"

    @property
    def plan(self) -> dict[str, Any]:
        last = {"kind": "last_n", "blocks": 3, "epochs": EPOCHS}
        return self.changes.get("plan", options("plan", self.kind) if self.port == "plan" else last)

    @property
    def ports(self) -> Ports:
        filled: dict[str, Any] = {}
        if self.port in ("objectives", "averaging"):
            filled[self.port] = [options(self.port, self.kind)]
        elif self.port in ("gradients", "sampling"):
            filled[self.port] = options(self.port, self.kind)
        if "replay" in self.changes or self.port == "gradients":
            filled["replay"] = SWITCHES["replay"]["replay"]
        return Ports(**filled)

    @property
    def loss(self) -> MainLoss:
        examples = split(TRAIN)
        if self.port == "gradients":
            return TwoTasks(examples.labels)
        if self.kind == "feature_hint" or self.changes.get("teacher"):
            rng = np.random.default_rng(0)
            answers, hints = (rng.normal(size=(TRAIN, 2, n)).astype(np.float32) for n in (2, 16))
            return distillation_loss(
                examples, answers, temperature=2.0, label_weight=0.5, teacher_embeddings=hints
            )
        plain = {"label_smoothing": 0.0, "mixup_alpha": 0.0, "class_balance": False}
        return classification_loss(examples, **(plain | self.changes.get("loss", {})))

    @property
    def plain(self) -> Case:
        """The same run without the strategy."""
        if self.port == "gradients":
            return Case("gradients", "sum")
        teacher = {"teacher": True} if self.kind == "feature_hint" else {}
        if "plan" in self.changes:
            return Case("plan", "last_n", {"plan": {"kind": "last_n", "blocks": 2, "epochs": 2}})
        return Case("plain", "taught" if teacher else "plain", teacher)


def options(port: str, kind: str) -> dict[str, Any]:
    """The recipe's defaults of a kind, made small."""
    (own,) = (one for one in OPTIONS[port] if one.model_fields["kind"].default == kind)
    small = {"epochs": EPOCHS} if port == "plan" and "epochs" in own.model_fields else {}
    dumped: dict[str, Any] = own(**(small | SMALL.get(kind, {}))).model_dump(mode="json")
    return dumped


CASES = [Case(port, kind) for port, kinds in KINDS.items() for kind in kinds]
CASES += [Case("switch", kind, changes) for kind, changes in SWITCHES.items()]
every_case = pytest.mark.parametrize("case", CASES, ids=str)


def run(case: Case, folder: Path, ports: Ports | None = None) -> Classifier:
    model = classifier()
    fine_tune_by_plan(
        model,
        case.plan,
        data=Data(
            Halves(TRAIN),
            unlabelled=Halves(16, seed=2),
            old=Halves(OLD, seed=3),
            old_labels=np.arange(OLD) % 2,
            partners=lambda: Partners(np.eye(6, 5), np.arange(6) % 2),
            difficulty=np.arange(TRAIN).astype(float),
            cached_views=2,
        ),
        loss=case.loss,
        score=lambda logits: {},
        optimisation=Optimisation(**(vars(HOW) | case.changes.get("how", {}))),
        ports=case.ports if ports is None else ports,
        trunks=TrunkStore(folder / "trunks", 2**30),
        work_dir=folder,
        seed=0,
    )
    return model


@cache
def trained(case: Case) -> Classifier:
    with tempfile.TemporaryDirectory() as folder:
        return run(case, Path(folder))


def differing(a: torch.nn.Module, b: torch.nn.Module) -> set[str]:
    """Names of parameters and buffers that are not equal bit for bit."""
    first, second = a.state_dict(), b.state_dict()
    assert first.keys() == second.keys()
    return {name for name, value in first.items() if not value.equal(second[name])}


def may_move(case: Case) -> set[str]:
    """Names of what the plan says may move: parameters, measured statistics, the head."""
    model = classifier()
    if case.kind == "surgical":  # which block it is follows from the data
        moved = differing(model.encoder, trained(case).encoder)
        owners = [b for b in model.encoder.blocks if {f"model.{p}" for p in b.parameters} & moved]
        assert len(owners) == 1
        return {f"encoder.model.{p}" for p in owners[0].parameters} | {"head.weight", "head.bias"}
    stages = plans.stages_of(case.plan, len(model.encoder.blocks))
    names: set[str] = set()
    for stage in stages:
        own = {p for index in stage.trainable for p in model.encoder.blocks[index].parameters}
        if stage.parameters == "norm_bias":
            own &= norm_and_bias_names(model.encoder.model)
        if stage.batch_statistics:
            own |= {name for name, _ in model.encoder.model.named_buffers()}
        names |= {f"encoder.model.{name}" for name in own}
        names |= {"head.weight", "head.bias"} if stage.head else set()
    return names


def test_every_kind_has_options_in_the_recipe() -> None:
    for port, kinds in KINDS.items():
        assert {one.model_fields["kind"].default for one in OPTIONS[port]} == set(kinds)


PARTS = {
    averaging: {"interpolation"},
    objectives: {"adversary", "anchor", "classification", "contrastive", "decoupled",
                 "distillation", "domains", "mixup", "reversal", "standardised"},
    gradients: {"clipping", "learned", "measured"},
    batches: {"background"},
    plans: set(),
}  # fmt: skip
"""Files of a room that are no filling of its port: what several share, and what another test of the
same folder covers (losses of a batch, clipping, composed backgrounds)."""


def test_every_strategy_file_is_covered_here() -> None:
    covered = {*SWITCHES, *(kind for kinds in KINDS.values() for kind in kinds)}
    for room, parts in PARTS.items():
        files = {file.stem for file in Path(str(room.__file__)).parent.glob("[a-z]*.py")}
        assert files - covered == parts, f"{room.__name__}: give it a case, or name it in PARTS"


@every_case
def test_frozen_is_bit_equal(case: Case) -> None:
    assert differing(trained(case), classifier()) <= may_move(case)


@pytest.mark.parametrize("case", [c for c in CASES if c.kind not in PLAIN], ids=str)
def test_it_makes_a_difference(case: Case) -> None:
    other = classifier() if case.port == "plan" else trained(case.plain)
    moved = differing(trained(case), other)
    assert any(name.startswith("encoder.") for name in moved)


@every_case
def test_saved_and_loaded_gives_equal_logits(case: Case, tmp_path: Path) -> None:
    model = trained(case)
    task.save(model, tmp_path)
    x = torch.randn(2, 3, 64, 64)
    assert torch.equal(task.load_model(tmp_path).averaged_logits(x), model.averaged_logits(x))


@every_case
def test_stopped_and_resumed_equals_uninterrupted(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped before its last epoch, so that every port has something to remember."""
    epochs: list[int] = []

    def stop(*args: Any) -> Any:
        epochs.append(args[1])
        if len(epochs) == 2:
            raise KeyboardInterrupt
        return real(*args)

    real = progressive.run_epoch
    monkeypatch.setattr(progressive, "run_epoch", stop)
    if case.kind != "head_only":
        with pytest.raises(KeyboardInterrupt):
            run(case, tmp_path)
    monkeypatch.setattr(progressive, "run_epoch", real)
    assert differing(run(case, tmp_path), trained(case)) == set()


WITHOUT_STRENGTH = {
    "ema": ("averaging", {"decay": 0.0}),
    "wise_ft": ("averaging", {"alpha": 1.0}),
    "replay": ("replay", {"alpha": 0.0, "beta": 0.0}),
}
"""What has a strength but is no term of the loss: its port, and the value at which it is off."""


@pytest.mark.parametrize("kind", WITHOUT_STRENGTH)
def test_off_equals_plain_bit_for_bit(kind: str, tmp_path: Path) -> None:
    port, off = WITHOUT_STRENGTH[kind]
    own = (SWITCHES["replay"]["replay"] if port == "replay" else options(port, kind)) | off
    ports = Ports(**{port: [own] if port == "averaging" else own})
    plain = Case("plain", "plain")
    assert differing(run(plain, tmp_path, ports), trained(plain)) == set()


@pytest.mark.parametrize("kind", objectives.KINDS)
def test_strength_zero_equals_plain_bit_for_bit(kind: str, tmp_path: Path) -> None:
    off = Ports(objectives=[options("objectives", kind) | {"strength": 0.0}])
    case = Case("objectives", kind)
    assert differing(run(case, tmp_path, off), trained(case.plain)) == set()
