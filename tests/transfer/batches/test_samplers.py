"""Samplers: who is shown, how often, in which epoch."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pytest

from regraft.errors import UserError
from regraft.recipe.batches import Sampling
from regraft.transfer.batches import KINDS, Sampler, build_sampler

OPTIONS = [options().model_dump() for options in get_args(get_args(Sampling)[0])]
LABELS = np.array([0] * 12 + [1] * 5 + [2] * 3)
DIFFICULTY = np.random.default_rng(0).permutation(20) / 20


def sampler(options: dict[str, Any], n_epochs: int = 4) -> Sampler:
    return build_sampler(
        options, labels=LABELS, n_classes=3, difficulty=DIFFICULTY, n_epochs=n_epochs
    )


def shown(options: dict[str, Any], epoch: int, seed: int = 0, n_epochs: int = 4) -> np.ndarray:
    return sampler(options, n_epochs).order(epoch, np.random.default_rng(seed))


every_kind = pytest.mark.parametrize("options", OPTIONS, ids=lambda one: one["kind"])


def test_the_recipe_and_the_builder_know_the_same_kinds() -> None:
    assert {options["kind"] for options in OPTIONS} == set(KINDS)


def test_an_unknown_kind_names_the_known_ones() -> None:
    with pytest.raises(KeyError, match="curriculum"):
        build_sampler({"kind": "sorted"}, labels=LABELS, n_classes=3, n_epochs=1)


@every_kind
def test_an_epoch_is_never_longer_than_the_data_and_follows_its_seed(
    options: dict[str, Any],
) -> None:
    for epoch in range(4):
        found = [shown(options, epoch, seed) for seed in (3, 3, 4)]
        assert len(found[0]) <= len(LABELS)
        assert found[0].dtype.kind == "i"
        assert np.array_equal(found[0], found[1])
        assert not np.array_equal(found[0], found[2])


@every_kind
def test_a_resumed_run_draws_what_the_unbroken_one_would(options: dict[str, Any]) -> None:
    unbroken = sampler(options)
    for epoch in range(3):
        unbroken.order(epoch, np.random.default_rng(epoch))
    assert np.array_equal(unbroken.order(3, np.random.default_rng(3)), shown(options, 3, seed=3))


def test_shuffled_is_numpy_s_permutation() -> None:
    expected = np.random.default_rng(5).permutation(20)
    assert np.array_equal(shown({"kind": "shuffled"}, 2, seed=5), expected)


def test_class_balanced_shows_every_class_equally_often() -> None:
    found = shown({"kind": "class_balanced"}, 0)
    counts = np.bincount(LABELS[found])
    assert len(found) == len(LABELS)
    assert counts.max() - counts.min() <= 1
    assert not np.all(np.diff(LABELS[found]) >= 0), "in random order"


def test_class_balanced_repeats_no_example_before_all_of_its_class_were_shown() -> None:
    times = np.bincount(shown({"kind": "class_balanced"}, 0), minlength=20)
    for label in range(3):
        own = times[np.equal(LABELS, label)]
        assert own.max() - own.min() <= 1


def test_class_balanced_shows_all_of_a_large_class_in_the_end() -> None:
    seen = np.concatenate([shown({"kind": "class_balanced"}, e, seed=e) for e in range(15)])
    assert set(seen) == set(range(20))


def test_class_balanced_passes_over_a_class_without_examples() -> None:
    one = build_sampler(
        {"kind": "class_balanced"}, labels=np.array([0, 2, 2]), n_classes=4, n_epochs=1
    )
    assert len(one.order(0, np.random.default_rng(0))) == 3


def curriculum(start_share: float = 0.34, share_of_epochs: float = 0.5) -> dict[str, Any]:
    return {
        "kind": "curriculum",
        "start_share": start_share,
        "share_of_epochs": share_of_epochs,
    }


def test_a_curriculum_begins_with_the_easiest_of_each_class() -> None:
    found = shown(curriculum(), 0)
    assert np.bincount(LABELS[found]).tolist() == [5, 2, 2]
    for label in range(3):
        hidden = np.setdiff1d(np.flatnonzero(np.equal(LABELS, label)), found)
        own = found[LABELS[found] == label]
        assert DIFFICULTY[own].max() < DIFFICULTY[hidden].min()


def test_a_curriculum_grows_to_everything_and_stays_there() -> None:
    lengths = [len(shown(curriculum(0.25), epoch, n_epochs=8)) for epoch in range(8)]
    assert lengths == sorted(lengths)
    assert lengths[0] < lengths[1] < lengths[2] < lengths[3] < lengths[4] == 20
    assert lengths[4:] == [20] * 4


@pytest.mark.parametrize("n_epochs", [1, 2, 5])
def test_the_last_epoch_of_a_curriculum_shows_everything(n_epochs: int) -> None:
    found = shown(curriculum(0.1, share_of_epochs=1.0), n_epochs - 1, n_epochs=n_epochs)
    assert sorted(found.tolist()) == list(range(20))


def test_a_curriculum_that_starts_with_everything_is_a_shuffle() -> None:
    assert sorted(shown(curriculum(1.0), 0).tolist()) == list(range(20))


@pytest.mark.parametrize("difficulty", [None, np.full(20, np.nan)])
def test_a_curriculum_without_difficulty_is_refused(difficulty: np.ndarray | None) -> None:
    with pytest.raises(UserError, match="how difficult"):
        build_sampler(curriculum(), labels=LABELS, n_classes=3, difficulty=difficulty, n_epochs=4)
