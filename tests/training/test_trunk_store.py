"""The frozen-trunk cache: shared, never stale, bounded, safe under kills and neighbours."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from regraft.tasks.classifier import Classifier
from regraft.training.inputs import EmbeddingInputs, Inputs, TrunkInputs
from regraft.training.sources import cuts
from regraft.training.trunk_store import TrunkStore
from regraft.transfer.stage import Stage
from tests.training.support import Halves, classifier

N, VIEWS = 6, 2


@dataclass
class Counting(Halves):
    """Counts how many pictures were rendered."""

    def __init__(self, n: int = N, size: int = 64, seed: int = 0) -> None:
        super().__init__(n, size, seed)
        self.rendered = 0

    def batch(self, indices: np.ndarray, views: np.ndarray) -> torch.Tensor:
        self.rendered += len(indices)
        return super().batch(indices, views)


def ask(store: TrunkStore, views: Halves, model: Classifier, end: int = 3) -> Inputs | None:
    return store.inputs(model.encoder, views, end=end, n_views=VIEWS, description="trunk")


def entries(store: TrunkStore) -> list[Path]:
    return sorted(path for path in store.root.iterdir() if path.is_dir())


@pytest.fixture
def store(tmp_path: Path) -> TrunkStore:
    return TrunkStore(tmp_path / "trunks", 2**30)


@pytest.mark.parametrize("whole", [False, True])
def test_it_gives_what_the_network_computes(store: TrunkStore, whole: bool) -> None:
    model = classifier().eval()
    end = len(model.encoder.blocks) if whole else 3
    inputs = ask(store, Halves(N), model, end)
    assert isinstance(inputs, EmbeddingInputs if whole else TrunkInputs)
    assert (len(inputs), inputs.n_views) == (N, VIEWS)
    indices, views = np.array([4, 1]), np.array([1, 0])
    with torch.inference_mode():
        found = inputs.embed(model.encoder, inputs.batch(indices, views))
        expected = model.encoder(Halves(N).batch(indices, views))
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-3)


def test_it_is_computed_once_for_all_runs(store: TrunkStore) -> None:
    views = Counting()
    ask(store, views, classifier())
    first = views.rendered
    ask(TrunkStore(store.root, store.max_bytes), views, classifier())
    assert views.rendered - first == 1, "only the sample that measures the shapes"
    assert len(entries(store)) == 1


def test_blocks_behind_the_cut_do_not_matter_those_before_do(store: TrunkStore) -> None:
    model = classifier()
    ask(store, Halves(N), model)
    with torch.no_grad():
        model.encoder.parameters_of(4)[0].add_(1)
        ask(store, Halves(N), model)
        assert len(entries(store)) == 1
        model.encoder.parameters_of(3)[0].add_(1)
    ask(store, Halves(N), model)
    assert len(entries(store)) == 2


def test_statistics_of_frozen_norms_matter(store: TrunkStore) -> None:
    model = classifier()
    ask(store, Halves(N), model)
    norm = next(m for m in model.encoder.modules() if isinstance(m, torch.nn.BatchNorm2d))
    assert norm.running_mean is not None
    norm.running_mean.add_(1)
    ask(store, Halves(N), model)
    assert len(entries(store)) == 2


def test_looking_moves_no_statistics(store: TrunkStore) -> None:
    model = classifier()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.encoder.freeze_except(set(range(len(model.encoder.blocks))), keep_statistics=False)
    model.train()
    ask(store, Halves(N), model)
    assert all(value.equal(before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("other", [Halves(N, seed=1), Halves(N + 1), Halves(N, size=48)])
def test_other_views_are_another_entry(store: TrunkStore, other: Halves) -> None:
    ask(store, Halves(N), classifier())
    ask(store, other, classifier())
    assert len(entries(store)) == 2


def test_another_version_of_the_code_is_another_entry(store: TrunkStore) -> None:
    ask(store, Halves(N), classifier())
    ask(TrunkStore(store.root, store.max_bytes, "changed"), Halves(N), classifier())
    assert len(entries(store)) == 2


def test_the_least_recently_used_goes_when_there_is_no_room(store: TrunkStore) -> None:
    model = classifier()
    for seed in range(2):
        ask(store, Halves(N, seed=seed), model)
    one = sum(path.stat().st_size for path in entries(store)[0].iterdir())
    cards = {json.loads((e / "card.json").read_text())["views"]: e for e in entries(store)}
    for name, when in ((Halves(N, seed=0).fingerprint, 100), (Halves(N, seed=1).fingerprint, 50)):
        os.utime(cards[name] / "card.json", (when, when))
    small = TrunkStore(store.root, int(2.5 * one))
    assert ask(small, Halves(N, seed=2), model) is not None
    left = {json.loads((e / "card.json").read_text())["views"] for e in entries(store)}
    assert left == {Halves(N, seed=0).fingerprint, Halves(N, seed=2).fingerprint}


def test_what_is_in_use_stays_and_the_run_goes_on_uncached(store: TrunkStore) -> None:
    model = classifier()
    used = ask(store, Halves(N), model)
    one = sum(path.stat().st_size for path in entries(store)[0].iterdir())
    small = TrunkStore(store.root, int(1.5 * one))
    assert ask(small, Halves(N, seed=1), model) is None
    del used
    assert ask(small, Halves(N, seed=1), model) is not None
    assert len(entries(store)) == 1


def test_what_never_fits_is_not_cached_and_evicts_nothing(store: TrunkStore) -> None:
    ask(store, Halves(N), classifier())
    assert ask(TrunkStore(store.root, 100), Halves(N, seed=1), classifier()) is None
    assert len(entries(store)) == 1


def _fill_and_die(root: Path) -> None:
    class Deadly(Halves):
        def batch(self, indices: np.ndarray, views: np.ndarray) -> torch.Tensor:
            if len(indices) > 1:
                os.kill(os.getpid(), signal.SIGKILL)
            return super().batch(indices, views)

    torch.set_num_threads(1)
    ask(TrunkStore(root, 2**30), Deadly(N), classifier())


def _fill(root: Path, results: multiprocessing.SimpleQueue[int]) -> None:
    torch.set_num_threads(1)
    views = Counting(64)
    inputs = ask(TrunkStore(root, 2**30), views, classifier())
    assert inputs is not None
    results.put(views.rendered)


@pytest.mark.e2e
def test_what_a_kill_left_is_computed_anew(store: TrunkStore) -> None:
    process = multiprocessing.get_context("spawn").Process(target=_fill_and_die, args=(store.root,))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    (left,) = entries(store)
    assert not (left / "card.json").exists()
    views = Counting()
    assert ask(store, views, classifier()) is not None
    assert views.rendered == 1 + N * VIEWS


@pytest.mark.e2e
def test_two_processes_compute_it_once(store: TrunkStore) -> None:
    context = multiprocessing.get_context("spawn")
    results = context.SimpleQueue()
    both = [context.Process(target=_fill, args=(store.root, results)) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join()
    assert [process.exitcode for process in both] == [0, 0]
    assert sorted([results.get(), results.get()]) == [1, 1 + 64 * VIEWS]


def test_stages_share_the_cut_of_the_earliest_and_the_head_reads_embeddings() -> None:
    encoder = classifier().encoder
    n = len(encoder.blocks)
    head, last, more = (Stage("", frozenset(range(n - depth, n)), 1) for depth in (0, 1, 3))
    early = encoder.trunk_end(set(more.trainable))
    assert cuts(encoder, [head, last, more], alike=False) == [n, early, early]
    assert cuts(encoder, [head, last, more], alike=True) == [early, early, early]
    assert cuts(encoder, [head], alike=True) == [n]
    whole = Stage("", frozenset(range(n)), 1)
    assert cuts(encoder, [head, whole], alike=False) == [n, None]
    assert cuts(encoder, [head, whole], alike=True) == [None, None]
    assert cuts(encoder, [], alike=False) == []
