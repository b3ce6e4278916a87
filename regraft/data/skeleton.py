"""The joints of a signing figure, and motion in a form that people of any size and camera share.

Landmarks are MediaPipe's: 33 of the body, 21 of each hand (wrist first, then four per finger, thumb
to little finger, from the palm to the tip).
"""

from __future__ import annotations

from typing import Any

import numpy as np

BODY_JOINTS, HAND_JOINTS = 33, 21
JOINTS = BODY_JOINTS + 2 * HAND_JOINTS
LEFT_HAND = slice(BODY_JOINTS, BODY_JOINTS + HAND_JOINTS)
RIGHT_HAND = slice(BODY_JOINTS + HAND_JOINTS, JOINTS)

HAND_BONES = [(0, 1), (0, 5), (0, 17), (5, 9), (9, 13), (13, 17)] + [
    (joint, joint + 1) for first in (1, 5, 9, 13, 17) for joint in range(first, first + 3)
]
"""Pairs of joints: the palm, then the fingers."""

SIGN_DIM = (HAND_JOINTS + 1) * 3
"""Numbers per frame of a normalised sign: 21 joints from the wrist, and the wrist's path."""

_PALM = 9  # from the wrist to the root of the middle finger: the unit of length


def normalised_hand(joints: np.ndarray) -> np.ndarray:
    """The signing hand of `joints` (frames, 75, 3), NaN where untracked, as (frames', SIGN_DIM).

    The hand tracked in more frames is taken; a left one is mirrored. Positions are relative to the
    wrist, the wrist's own to its mean, all in lengths of the palm. Frames before the hand appears
    and after it has gone are cut off, gaps between are filled by linear interpolation.

    Raises ValueError where no hand is tracked in two frames.
    """
    sides = [joints[:, LEFT_HAND], joints[:, RIGHT_HAND]]
    tracked = [np.isfinite(side).all((1, 2)) for side in sides]
    left = bool(tracked[0].sum() > tracked[1].sum())
    hand, seen = (sides[0], tracked[0]) if left else (sides[1], tracked[1])
    at = np.flatnonzero(seen)
    if len(at) < 2:
        raise ValueError("no hand is tracked in two frames")
    whole = _filled(hand[at].reshape(len(at), -1), at).reshape(-1, HAND_JOINTS, 3)
    if left:
        whole = whole * [-1, 1, 1]
    wrist = whole[:, :1]
    unit = float(np.median(np.linalg.norm(whole[:, _PALM] - wrist[:, 0], axis=1)))
    if unit <= 0:
        raise ValueError("the tracked hand has no size")
    parts = [(whole - wrist) / unit, (wrist - wrist.mean(0)) / unit]
    return np.concatenate(parts, 1).reshape(len(whole), SIGN_DIM)


def hand_of(sign: np.ndarray) -> np.ndarray:
    """The joints (frames, 21, 3) relative to the wrist of a sign (frames, SIGN_DIM)."""
    return sign[:, : HAND_JOINTS * 3].reshape(len(sign), HAND_JOINTS, 3)


def positions(sign: np.ndarray) -> np.ndarray:
    """Joints (frames, 21, 3) in palm lengths of a normalised sign (frames, SIGN_DIM)."""
    joints = sign.reshape(len(sign), HAND_JOINTS + 1, 3)
    return np.asarray(joints[:, :HAND_JOINTS] + joints[:, HAND_JOINTS:])


def resampled(sign: np.ndarray, frames: int) -> np.ndarray:
    """The sign (n, d) at another number of frames, by linear interpolation."""
    return _filled_at(sign, np.arange(len(sign)), np.linspace(0, len(sign) - 1, frames))


def _filled(values: np.ndarray, at: np.ndarray) -> np.ndarray:
    return _filled_at(values, at, np.arange(at[0], at[-1] + 1))


def _filled_at(values: np.ndarray, at: Any, wanted: Any) -> np.ndarray:
    columns = [np.interp(wanted, at, column) for column in values.T]
    return np.stack(columns, 1)
