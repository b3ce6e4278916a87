import numpy as np
import pytest

from regraft.shift.cross_validation import (
    NEVER_HELD_OUT,
    assign_folds,
    fold_numbers,
    wilson_interval,
)


def test_folds_are_stratified():
    labels = np.repeat([0, 1, 2], [50, 20, 10])
    assigned = assign_folds(labels, folds=5, seed=1)
    assert fold_numbers(assigned) == [0, 1, 2, 3, 4]
    counts = [np.bincount(labels[assigned == f]).tolist() for f in range(5)]
    assert counts == [[10, 4, 2]] * 5


def test_groups_stay_whole_and_every_class_keeps_training_examples():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 90)
    groups = labels * 100 + rng.integers(0, 8, 90)
    assigned = assign_folds(labels, groups, folds=5, seed=2)
    for group in np.unique(groups):
        assert len(set(assigned[groups == group])) == 1
    for fold in fold_numbers(assigned):
        assert set(labels[assigned != fold]) == {0, 1, 2}


def test_a_class_with_one_group_is_never_held_out():
    assigned = assign_folds(["a", "a", "b", "b", "c", "c"], [1, 1, 2, 3, 4, 5])
    assert assigned[:2].tolist() == [NEVER_HELD_OUT, NEVER_HELD_OUT]
    assert fold_numbers(assigned) == [0, 1]


def test_nothing_can_be_held_out_of_one_example_per_class():
    assert fold_numbers(assign_folds([0, 1, 2])) == []
    assert fold_numbers(assign_folds([])) == []


def test_seed_decides():
    labels = np.zeros(40, int)
    first, again, other = (assign_folds(labels, seed=s) for s in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()


def test_wilson_interval():
    assert wilson_interval(0.5, 100) == pytest.approx((0.4038, 0.5962), abs=1e-4)
    assert wilson_interval(1.0, 10) == pytest.approx((0.7225, 1.0), abs=1e-4)
    assert wilson_interval(0.0, 10)[0] == 0.0


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("speakers", "wanted"), [(2, 2), (3, 3), (8, 5)])
def test_speakers_who_say_every_word_are_held_out_whole(seed, speakers, wanted):
    rng = np.random.default_rng(seed)
    labels, groups = rng.integers(0, 10, 300), rng.integers(0, speakers, 300)
    assigned = assign_folds(labels, groups, seed=seed)
    assert len(fold_numbers(assigned)) == wanted
    for group in range(speakers):
        assert len(set(assigned[groups == group])) == 1
    for fold in fold_numbers(assigned):
        assert set(labels[assigned != fold]) == set(range(10))


def test_one_speaker_cannot_be_held_out_and_neither_can_the_only_one_who_says_a_word():
    assert fold_numbers(assign_folds([0, 1, 2, 0], ["a"] * 4)) == []
    labels = [0, 1, 2, 0, 1, 0, 1, 0, 1]
    groups = ["a", "a", "a", "b", "b", "c", "c", "d", "d"]
    assigned = assign_folds(labels, groups)
    assert set(assigned[:3]) == {NEVER_HELD_OUT} and len(fold_numbers(assigned)) == 3
