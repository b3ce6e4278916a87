"""Stages train what they say, the best epoch is kept, and a kill changes nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from regraft.errors import UserError
from regraft.tasks.classifier import Classifier
from regraft.training.losses import classification_loss
from regraft.training.ports import Ports
from regraft.training.progressive import Optimisation, fine_tune
from regraft.training.selection import validation_score
from regraft.training.sources import Data
from regraft.training.trunk_store import TrunkStore
from regraft.transfer.stage import Stage
from tests.training.support import Halves, classifier, split

TRAIN, VALIDATION = 32, 16
FAST = Optimisation(learning_rate=3e-3, head_learning_rate=1e-2, batch_size=8)


def train(
    model: Classifier,
    stages: list[Stage],
    folder: Path,
    *,
    how: Optimisation = FAST,
    **options: Any,
) -> dict[str, Any]:
    examples = options.pop("examples", split(TRAIN))
    loss = {"label_smoothing": 0.0, "mixup_alpha": 0.0, "class_balance": False}
    data = Data(
        Halves(TRAIN),
        Halves(VALIDATION, seed=1) if options.pop("validate", True) else None,
        n_views=2,
        cached_views=2,
    )
    return fine_tune(
        model,
        stages,
        data=replace(data, **options.pop("data", {})),
        score=validation_score(split(VALIDATION).labels),
        loss=classification_loss(examples, **(loss | options.pop("loss", {}))),
        optimisation=how,
        work_dir=folder,
        seed=0,
        trunks=TrunkStore(folder / "trunks", 2**30) if options.pop("reuse_trunk", True) else None,
        **options,
    )


def last_blocks(model: Classifier, depth: int, epochs: int = 3) -> Stage:
    n = len(model.encoder.blocks)
    return Stage(f"last {depth}", frozenset(range(n - depth, n)), epochs)


def test_it_learns_and_keeps_the_best_epoch(tmp_path: Path) -> None:
    model = classifier()
    history = train(model, [last_blocks(model, 2), last_blocks(model, 4)], tmp_path)
    losses = {(stage["name"], epoch["epoch"]): epoch["val_loss"]
              for stage in history["stages"] for epoch in stage["epochs"]}  # fmt: skip
    chosen = (history["chosen"]["stage"], history["chosen"]["epoch"])
    assert losses[chosen] == min(losses.values())
    assert min(losses.values()) < losses["probe", 0] - 0.1
    assert [stage["name"] for stage in history["stages"]] == ["probe", "last 2", "last 4"]


@pytest.mark.parametrize("name", ["test_efficientnet", "test_vit"])
def test_only_the_stage_s_blocks_move(name: str, tmp_path: Path) -> None:
    model = classifier(name)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    train(model, [last_blocks(model, 2, epochs=1)], tmp_path, validate=False)
    n = len(model.encoder.blocks)
    moving = {f"encoder.model.{p}" for b in model.encoder.blocks[n - 2 :] for p in b.parameters}
    changed = {key for key, value in model.state_dict().items() if not value.equal(before[key])}
    assert changed <= moving | {"head.weight", "head.bias"}
    assert changed & moving


def test_a_cached_trunk_trains_like_the_whole_network(tmp_path: Path) -> None:
    """Half precision of the cache may move the loss a little, not the course of training."""
    results = []
    for reuse in (True, False):
        model = classifier()
        history = train(model, [last_blocks(model, 2)], tmp_path / str(reuse), reuse_trunk=reuse)
        results.append([epoch["train_loss"] for epoch in history["stages"][1]["epochs"]])
    np.testing.assert_allclose(results[0], results[1], rtol=0.02)


def test_fine_tuning_that_does_not_help_changes_nothing(tmp_path: Path) -> None:
    model = classifier()
    train(model, [last_blocks(model, 4, epochs=4)], tmp_path / "right")
    before = {key: value.clone() for key, value in model.state_dict().items()}
    wrong = replace(split(TRAIN), labels=1 - split(TRAIN).labels)
    history = train(model, [last_blocks(model, 4, epochs=2)], tmp_path / "wrong", examples=wrong)
    assert history["chosen"]["stage"] == "probe"
    assert all(value.equal(before[key]) for key, value in model.state_dict().items())


def test_without_smoothing_and_mixup_it_is_cross_entropy() -> None:
    from torch.nn.functional import cross_entropy

    examples = split(8)
    logits = torch.randn(8, 2)

    def value(**options: Any) -> torch.Tensor:
        loss = classification_loss(examples, **options)
        inputs, wanted = loss.prepare([logits], np.arange(8), np.zeros(8, int))
        return loss.losses(inputs[0], wanted)["label"]

    found = value(label_smoothing=0, mixup_alpha=0, class_balance=False)
    assert torch.allclose(found, cross_entropy(logits, torch.from_numpy(examples.labels)))
    assert not torch.allclose(
        value(label_smoothing=0.1, mixup_alpha=0.5, class_balance=True), found
    )


def test_divergence_stops_and_keeps_the_last_good_weights(tmp_path: Path) -> None:
    model = classifier()
    wild = Optimisation(kind="sgd", learning_rate=1e30, head_learning_rate=1e30, clip_norm=0.0,
                        batch_size=8, warmup_fraction=0.0)  # fmt: skip
    with pytest.raises(UserError, match="diverged"):
        train(model, [last_blocks(model, 1, 1), last_blocks(model, 2, 3)], tmp_path, how=wild)


def test_a_full_disk_is_one_clear_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    model = classifier()
    train(model, [last_blocks(model, 1, epochs=1)], tmp_path)
    kept = (tmp_path / "checkpoint.pt").read_bytes()
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match="disk is full"):
        train(classifier(), [last_blocks(model, 1, epochs=2)], tmp_path)
    assert (tmp_path / "checkpoint.pt").read_bytes() == kept, "the old checkpoint was lost"


EVERY_PORT = Ports(
    objectives=[
        {"kind": "dann", "strength": 0.1},
        {"kind": "pseudo_label", "strength": 0.1, "threshold": 0.6},
    ],
    gradients={"kind": "agem"},
    sampling={"kind": "class_balanced"},
    replay={"size": 8, "choice": "reservoir", "batch_size": 4, "alpha": 0.5, "beta": 0.5},
    averaging=[{"kind": "ema", "decay": 0.9}, {"kind": "wise_ft", "alpha": 0.9}],
)
EVERY_EXAMPLE = {
    "unlabelled": Halves(16, seed=2),
    "old": Halves(12, seed=3),
    "old_labels": np.arange(12) % 2,
}

SCRIPT = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from tests.training.support import classifier
from tests.training.test_progressive import EVERY_EXAMPLE, EVERY_PORT, last_blocks, train
model = classifier()
stages = [last_blocks(model, 2, 3), last_blocks(model, 4, 3)]
train(model, stages, Path(sys.argv[1]), ports=EVERY_PORT, data=EVERY_EXAMPLE)
torch.save(model.state_dict(), sys.argv[2])
"""


@pytest.mark.e2e
@pytest.mark.parametrize("stage", [1, 2])
def test_killed_and_resumed_equals_uninterrupted(stage: int, tmp_path: Path) -> None:
    """kill -9 in the first or second stage; the weights in the end are equal bit for bit."""
    whole, parts = tmp_path / "whole.pt", tmp_path / "parts.pt"
    _run(tmp_path / "a", whole)
    process = _start(tmp_path / "b", parts)
    _wait_for_stage(tmp_path / "b" / "checkpoint.pt", stage)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not parts.exists()
    _run(tmp_path / "b", parts)
    expected, found = torch.load(whole), torch.load(parts)
    assert all(found[key].equal(value) for key, value in expected.items())


def _start(folder: Path, result: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", SCRIPT, str(folder), str(result)]
    return subprocess.Popen(command, cwd=Path(__file__).parents[2])


def _run(folder: Path, result: Path) -> None:
    assert _start(folder, result).wait() == 0


def _wait_for_stage(checkpoint: Path, stage: int) -> None:
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        if checkpoint.exists() and torch.load(checkpoint)["progress"]["stage"] == stage - 1:
            return
        time.sleep(0.002)
    raise AssertionError(f"stage {stage} was never seen")
