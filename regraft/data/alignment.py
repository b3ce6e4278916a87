"""Two motions in time: which frame of one is which of the other.

Motions are joints (frames, joints, 3).
"""

from __future__ import annotations

import numpy as np

from regraft.data.skeleton import hand_of


def joint_distances(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Mean distance over the joints of every pair of frames, (frames of first, of second)."""
    apart = first[:, None] - second[None]
    return np.asarray(np.sqrt((apart**2).sum(-1)).mean(-1))


def aligned_frames(costs: np.ndarray) -> np.ndarray:
    """Pairs of frames (steps, 2) of the cheapest monotonous alignment of `costs` (n, m): dynamic
    time warping (Sakoe and Chiba, 1978) with unweighted steps.

    >>> aligned_frames(np.array([[0.0, 1.0, 9.0], [9.0, 0.0, 0.0]])).tolist()
    [[0, 0], [1, 1], [1, 2]]
    """
    n, m = costs.shape
    total = np.full((n + 1, m + 1), np.inf)
    total[0, 0] = 0
    for i in range(1, n + 1):
        from_above = np.minimum(total[i - 1, :-1], total[i - 1, 1:]) + costs[i - 1]
        row = total[i]
        for j in range(1, m + 1):
            row[j] = min(from_above[j - 1], row[j - 1] + costs[i - 1, j - 1])
    i, j, path = n, m, []
    while i > 0 and j > 0:
        path.append((i - 1, j - 1))
        steps = ((i - 1, j - 1), (i - 1, j), (i, j - 1))
        i, j = min(steps, key=lambda step: total[step])
    return np.array(path[::-1])


def in_step(signs: np.ndarray, rounds: int = 2) -> np.ndarray:
    """Signs (n, frames, SIGN_DIM) of one word, warped in time until their hands do the same at the
    same frame: each is aligned to their mean, of which there is a new one in every round (DTW
    barycentre averaging; Petitjean et al., Pattern Recognition 44, 2011)."""
    warped = signs
    for _ in range(rounds):
        mean = warped.mean(0)
        warped = np.stack([_onto(mean, sign) for sign in signs])
    return warped


def _onto(reference: np.ndarray, sign: np.ndarray) -> np.ndarray:
    """The sign at the frames of the reference, the mean of those that are aligned with each."""
    steps = aligned_frames(joint_distances(hand_of(reference), hand_of(sign)))
    found = np.zeros_like(reference)
    np.add.at(found, steps[:, 0], sign[steps[:, 1]])
    return np.asarray(found / np.bincount(steps[:, 0], minlength=len(reference))[:, None])
