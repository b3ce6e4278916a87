"""What one step does: the plain one op for op, and every part that may join it."""

from __future__ import annotations

import multiprocessing
import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from regraft.errors import UserError
from regraft.tasks.classifier import Classifier
from regraft.training import processes
from regraft.training.loop import PartsOfEpoch
from regraft.training.losses import classification_loss
from regraft.training.ports import Ports
from regraft.transfer.rates import warmup_cosine
from regraft.transfer.stage import Stage
from tests.training.support import Halves, classifier, split
from tests.training.test_progressive import FAST, TRAIN, last_blocks, train

UNLABELLED, OLD = 20, 12
CORAL = Ports(objectives=[{"kind": "coral", "strength": 1.0}])
REPLAY = {"size": 8, "choice": "class_balanced", "batch_size": 4, "alpha": 0.5, "beta": 0.5}
OLD_DATA = {"old": Halves(OLD, seed=3), "old_labels": np.arange(OLD) % 2}


def fitted(folder: Path, **options: Any) -> Classifier:
    model = classifier()
    stages = options.pop("stages", [last_blocks(model, 2, epochs=2)])
    train(model, stages, folder, validate=False, reuse_trunk=False, **options)
    return model


def same(a: Classifier, b: Classifier) -> bool:
    other = b.state_dict()
    return all(value.equal(other[name]) for name, value in a.state_dict().items())


def written_by_hand(epochs: int) -> Classifier:
    """Plain fine-tuning of the last two blocks as one loop, without the engine."""
    model = classifier()
    n = len(model.encoder.blocks)
    model.encoder.freeze_except({n - 2, n - 1})
    members = [(list(model.head.parameters()), FAST.head_learning_rate)]
    for block, power in ((n - 2, 1), (n - 1, 0)):
        rate = FAST.learning_rate * FAST.block_decay**power
        members.append((model.encoder.parameters_of(block), rate))
    groups = [
        {"params": [p for p in own if (p.ndim > 1) == matrix], "weight_decay": decay, "peak": rate}
        for own, rate in members
        for matrix, decay in ((True, FAST.weight_decay), (False, 0.0))
    ]
    optimiser = torch.optim.AdamW(groups, lr=1.0)
    batches, labels = TRAIN // FAST.batch_size, torch.arange(TRAIN) % 2
    total = epochs * batches
    for epoch in range(epochs):
        model.train()
        rng = np.random.default_rng((0, 0, epoch))
        torch.manual_seed(int(rng.integers(2**62)))
        order = rng.permutation(TRAIN)
        for number in range(batches):
            factor = warmup_cosine(epoch * batches + number, total=total, warmup=round(total * 0.1))
            for group in optimiser.param_groups:
                group["lr"] = group["peak"] * factor
            chosen = order[number * FAST.batch_size :][: FAST.batch_size]
            x = Halves(TRAIN).batch(chosen, (chosen + epoch) % 2)
            log_p = torch.log_softmax(model(x.contiguous(memory_format=torch.channels_last)), 1)
            optimiser.zero_grad()
            (-(torch.eye(2)[labels[chosen]] * log_p).sum(1).mean()).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), FAST.clip_norm)
            optimiser.step()
    return model


def test_with_nothing_switched_on_it_is_a_plain_loop_bit_for_bit(tmp_path: Path) -> None:
    assert same(fitted(tmp_path), written_by_hand(epochs=2))


def test_target_examples_join_only_where_a_term_reads_them(tmp_path: Path) -> None:
    target = {"unlabelled": Halves(UNLABELLED, seed=2)}
    plain = fitted(tmp_path / "plain")
    assert same(fitted(tmp_path / "unread", data=target), plain)
    assert not same(fitted(tmp_path / "read", data=target, ports=CORAL), plain)


def test_a_term_without_its_target_examples_stops_before_the_first_step(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="coral needs unlabelled"):
        fitted(tmp_path, ports=CORAL)
    for replay in ({"size": 0}, REPLAY | {"alpha": 0.0, "beta": 0.0}):
        with pytest.raises(UserError, match="agem"):
            fitted(tmp_path, data=OLD_DATA, ports=Ports(gradients={"kind": "agem"}, replay=replay))


def test_every_loss_of_a_step_is_in_the_history(tmp_path: Path) -> None:
    model = classifier()
    data = {"unlabelled": Halves(UNLABELLED, seed=2)} | OLD_DATA
    history = train(model, [last_blocks(model, 2, epochs=1)], tmp_path, data=data,
                    ports=replace(CORAL, replay=REPLAY))  # fmt: skip
    record = history["stages"][1]["epochs"][0]
    assert set(record["losses"]) == {"label", "coral", "memory"}
    assert record["train_loss"] == pytest.approx(sum(record["losses"].values()))


def test_without_old_examples_nothing_is_replayed(tmp_path: Path) -> None:
    plain = fitted(tmp_path / "plain")
    assert same(fitted(tmp_path / "none", ports=Ports(replay=REPLAY)), plain)
    assert not same(fitted(tmp_path / "old", ports=Ports(replay=REPLAY), data=OLD_DATA), plain)


def test_two_half_batches_are_one_whole(tmp_path: Path) -> None:
    """Up to rounding: mean of two means of equal size. SGD, so that rounding is not amplified."""
    how = replace(FAST, kind="sgd", warmup_fraction=0.0)
    halves = replace(how, batch_size=FAST.batch_size // 2, accumulation_steps=2)
    stages = [last_blocks(classifier(), 2, epochs=1)]
    whole, parts = (
        fitted(tmp_path / name, how=one, stages=stages)
        for name, one in (("whole", how), ("halves", halves))
    )
    # the rate falls within a step of two halves, so only the first steps agree closely
    for a, b in zip(whole.parameters(), parts.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=5e-3)


def test_a_head_that_does_not_move_stays(tmp_path: Path) -> None:
    n = len(classifier().encoder.blocks)
    model = fitted(tmp_path, stages=[Stage("body", frozenset({n - 1}), 1, head=False)])
    assert model.head.weight.equal(classifier().head.weight)
    assert not same(model, classifier())


def test_a_stage_at_another_size_trains_on_it_and_is_validated_at_its_own(tmp_path: Path) -> None:
    sizes: list[int] = []

    class Spied(Halves):
        def batch(self, indices: np.ndarray, views: np.ndarray) -> torch.Tensor:
            sizes.append(self.size)
            return super().batch(indices, views)

        def at_size(self, image_size: int) -> Spied:
            return Spied(self.n, image_size, self.seed)

    model = classifier()
    small = replace(last_blocks(model, 2, epochs=1), image_size=48)
    data = {"train": Spied(TRAIN), "validation": Halves(16, seed=1)}
    history = train(model, [small], tmp_path, data=data, reuse_trunk=False)
    assert set(sizes) == {48}
    assert history["stages"][1]["image_size"] == 48


def test_a_size_that_the_backbone_cannot_read_is_refused(tmp_path: Path) -> None:
    model = classifier("test_vit")
    with pytest.raises(UserError, match="image size"):
        train(model, [replace(last_blocks(model, 1), image_size=50)], tmp_path)


def test_a_trunk_that_an_earlier_stage_moved_is_computed_anew(tmp_path: Path) -> None:
    """Otherwise the second stage would learn on what the first one left behind."""
    n = len(classifier().encoder.blocks)
    stages = [Stage("first", frozenset({0}), 1), Stage("last", frozenset({n - 1}), 1)]
    losses = []
    for reuse in (True, False):
        model = classifier()
        history = train(model, stages, tmp_path / str(reuse), reuse_trunk=reuse, validate=False,
                        data={"n_views": 2})  # fmt: skip
        losses.append(history["stages"][1]["epochs"][0]["train_loss"])
    assert losses[0] == pytest.approx(losses[1], rel=2e-3)


def test_averages_are_validated_and_kept_but_training_goes_on_from_the_weights(
    tmp_path: Path,
) -> None:
    """With a share of 0 WiSE-FT keeps the start, whatever was trained."""
    still = Ports(averaging=[{"kind": "wise_ft", "alpha": 0.0}])
    assert same(fitted(tmp_path / "still", ports=still), classifier())
    all_of_it = Ports(averaging=[{"kind": "wise_ft", "alpha": 1.0}])
    assert same(fitted(tmp_path / "all", ports=all_of_it), fitted(tmp_path / "plain"))


def test_with_both_mixtures_batches_get_one_or_the_other() -> None:
    loss = classification_loss(split(8), label_smoothing=0, mixup_alpha=1.0, cutmix_alpha=1.0,
                               class_balance=False)  # fmt: skip
    x = [torch.arange(8.0).reshape(8, 1, 1, 1).expand(8, 1, 8, 8).contiguous()]
    kinds = set()
    for seed in range(12):
        torch.manual_seed(seed)
        mixed, _ = loss.prepare(x, np.arange(8), np.zeros(8, int))
        flat = all(len(set(one.flatten().tolist())) == 1 for one in mixed[0])
        kinds.add("mixup" if flat else "cutmix")
    assert kinds == {"mixup", "cutmix"}


def test_shares_of_a_batch_are_weighed_to_the_mean_of_the_batch() -> None:
    values, total = np.arange(7.0) ** 2, 0.0
    for rank in range(3):
        parts = PartsOfEpoch.__new__(PartsOfEpoch)
        accelerator = SimpleNamespace(num_processes=3, process_index=rank)
        parts.loop = SimpleNamespace(accelerator=accelerator)  # type: ignore[assignment]
        mine, weight = parts._mine(np.arange(7))
        total += weight * values[mine].mean() / 3
        too_few, whole = parts._mine(np.arange(2))
        assert (list(too_few), whole) == ([0, 1], 1.0)
    assert total == pytest.approx(values.mean())


def _one_of_two(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2",
                   "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": os.environ["TEST_PORT"],
                   "ACCELERATE_USE_CPU": "true"}  # fmt: skip
    processes.join()
    data = {"unlabelled": Halves(UNLABELLED, seed=2)} | OLD_DATA
    ports = replace(CORAL, replay=REPLAY, gradients={"kind": "agem"})
    how = replace(FAST, kind="sgd", accumulation_steps=2)
    model = fitted(folder, data=data, ports=ports, how=how)
    assert torch.distributed.get_world_size() == 2
    torch.save(model.state_dict(), folder / f"{rank}.pt")


@pytest.mark.e2e
def test_two_processes_hold_the_same_weights_and_learn(tmp_path: Path) -> None:
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        os.environ["TEST_PORT"] = str(free.getsockname()[1])
    context = multiprocessing.get_context("spawn")
    both = [context.Process(target=_one_of_two, args=(rank, tmp_path)) for rank in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join()
    assert [process.exitcode for process in both] == [0, 0]
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    assert all(value.equal(second[name]) for name, value in first.items())
    assert not first["head.weight"].equal(classifier().head.weight)
