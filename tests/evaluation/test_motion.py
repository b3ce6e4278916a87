"""Measures of motion: exact on small cases, and each sees what it is there to see."""

from __future__ import annotations

import numpy as np
import pytest

from regraft.data.skeleton import HAND_JOINTS, SIGN_DIM
from regraft.evaluation.motion import (
    SignClassifier,
    bone_instability,
    derivative,
    dtw_mje,
    pck,
)


def motion(frames: int = 9, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(frames, HAND_JOINTS, 3)).cumsum(0)


def test_speed_does_not_count_and_shape_does() -> None:
    real = motion()
    assert dtw_mje(real, np.repeat(real, 2, 0)) == 0
    assert dtw_mje(real + np.array([0.3, 0, 0]), real) <= 0.3 + 1e-9
    assert dtw_mje(real[::-1], real) > 1


@pytest.mark.parametrize("bad", [motion()[:0], np.full((4, HAND_JOINTS, 3), np.nan)])
def test_an_error_of_nothing_is_refused(bad: np.ndarray) -> None:
    with pytest.raises(ValueError, match="no error"):
        dtw_mje(bad, motion())


def test_pck_counts_joints_within_the_radius() -> None:
    real = motion()
    moved = real.copy()
    moved[:, :7, 0] += 0.3
    assert pck(real, real) == 1
    assert np.isclose(pck(moved, real, radius=0.2), 14 / 21)


def test_derivatives_are_those_of_a_parabola() -> None:
    time = np.arange(10) / 25
    one = np.zeros((10, HAND_JOINTS, 3))
    one[..., 0] = (2 * time**2)[:, None]
    assert np.isclose(derivative(one, 25, 2), 4)
    assert np.isclose(derivative(one, 25, 3), 0, atol=1e-6)
    assert np.isnan(derivative(one[:1], 25, 1))


def test_bones_of_a_rigid_hand_are_stable_and_of_a_growing_one_not() -> None:
    hand = motion(1)
    turned = np.concatenate([hand, hand[..., [1, 0, 2]], hand * [-1, 1, 1]])
    assert bone_instability(turned) < 1e-12
    assert bone_instability(np.concatenate([hand, 2 * hand])) > 0.3


def test_back_recognition_names_new_takes_and_not_noise() -> None:
    rng = np.random.default_rng(0)
    shapes = rng.normal(size=(4, SIGN_DIM))
    words = np.repeat(np.arange(4), 6)

    def take(word: int) -> np.ndarray:
        return shapes[word] + 0.2 * rng.normal(size=(int(rng.integers(8, 20)), SIGN_DIM))

    classifier = SignClassifier([take(word) for word in words], words)
    assert classifier.accuracy([take(word) for word in words], words) == 1
    mean = [np.repeat(shapes.mean(0)[None], 10, 0)] * 4
    assert classifier.accuracy(mean, np.arange(4)) == 0.25
