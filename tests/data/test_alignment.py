"""Dynamic time warping is exact, and brings signs of one word in step."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from regraft.data.alignment import aligned_frames, in_step, joint_distances
from regraft.data.skeleton import HAND_JOINTS, SIGN_DIM, hand_of


def cheapest(costs: np.ndarray) -> float:
    """The cost of the best alignment, by trying every one."""
    n, m = costs.shape
    best = np.inf
    for length in range(max(n, m), n + m):
        for moves in itertools.product([(1, 1), (1, 0), (0, 1)], repeat=length - 1):
            steps = np.cumsum([(0, 0), *moves], 0)
            if tuple(steps[-1]) == (n - 1, m - 1):
                best = min(best, costs[tuple(steps.T)].sum())
    return best


@pytest.mark.parametrize("seed", range(4))
def test_the_alignment_is_the_cheapest_one(seed: int) -> None:
    costs = np.random.default_rng(seed).uniform(size=(3, 4))
    assert np.isclose(costs[tuple(aligned_frames(costs).T)].sum(), cheapest(costs))


def test_distances_are_those_of_every_pair_of_frames() -> None:
    motion = np.random.default_rng(0).normal(size=(9, HAND_JOINTS, 3))
    apart = joint_distances(motion, motion[:4] + np.array([0.3, 0, 0]))
    assert apart.shape == (9, 4) and np.allclose(apart.diagonal(), 0.3)


def test_signs_in_step_keep_the_movement_that_their_plain_mean_loses() -> None:
    way = np.linspace(-1, 1, 32)
    signs = np.zeros((4, 32, SIGN_DIM))
    for row, start in enumerate((-0.6, -0.2, 0.2, 0.6)):
        signs[row] = np.where(way > start, 1.0, 0.0)[:, None]  # a jerk, sooner or later
    warped = in_step(signs)
    assert warped.shape == signs.shape
    assert warped.std(0).mean() < 0.5 * signs.std(0).mean()
    jumps = [np.abs(np.diff(hand_of(found.mean(0)), axis=0)).max() for found in (signs, warped)]
    assert jumps[1] > 1.5 * jumps[0]


def test_signs_that_are_in_step_stay_as_they_are() -> None:
    one = np.random.default_rng(0).normal(size=(8, SIGN_DIM)).cumsum(0)
    assert np.allclose(in_step(np.stack([one, one])), one)
