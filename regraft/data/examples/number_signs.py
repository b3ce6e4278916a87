"""Generated signs of the numbers 0 to 9: a hand moved by its joints (forward kinematics).

Each finger is a chain of three bones whose angles say how far it is bent; a number is which fingers
are bent, as in American Sign Language. Signers differ by the lengths of their bones, how they hold
and move the hand, how fast they are and how well they are tracked.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from regraft.data.skeleton import JOINTS, RIGHT_HAND

SIGNERS = 8
FPS = 25.0

_OPEN, _HALF, _BENT = 0.05, 0.55, 1.0
_NUMBERS = {
    "0": (_HALF, _HALF, _HALF, _HALF, _HALF),
    "1": (_BENT, _OPEN, _BENT, _BENT, _BENT),
    "2": (_BENT, _OPEN, _OPEN, _BENT, _BENT),
    "3": (_OPEN, _OPEN, _OPEN, _BENT, _BENT),
    "4": (_BENT, _OPEN, _OPEN, _OPEN, _OPEN),
    "5": (_OPEN, _OPEN, _OPEN, _OPEN, _OPEN),
    "6": (_HALF, _OPEN, _OPEN, _OPEN, _BENT),
    "7": (_HALF, _OPEN, _OPEN, _BENT, _OPEN),
    "8": (_HALF, _OPEN, _BENT, _OPEN, _OPEN),
    "9": (_HALF, _BENT, _OPEN, _OPEN, _OPEN),
}
"""How far thumb, index, middle, ring and little finger are bent, 0 to 1."""
_ROOTS = np.array([[-0.3, -0.25], [-0.33, -0.95], [0.0, -1.0], [0.28, -0.93], [0.52, -0.8]])
"""Where the fingers begin, in palm lengths from the wrist (y points down)."""
_DIRECTIONS = np.array([-0.9, -0.18, 0.0, 0.15, 0.33])  # radians from upright
_BONES = np.array(
    [[0.38, 0.34, 0.28], [0.45, 0.27, 0.22], [0.5, 0.3, 0.23], [0.46, 0.29, 0.22], [0.36, 0.2, 0.2]]
)
_MOST_BENT = np.array([1.2, 1.6, 1.1])  # radians at the three joints of a finger
_PALM_PIXELS = 60.0


@dataclass(frozen=True)
class Signer:
    """Somebody's `bones` (5, 3), spread and turn of the hand (radians), seconds per sign, how far
    the hand is carried (palm lengths) and how noisily it is tracked (palm lengths)."""

    bones: np.ndarray
    spread: float
    turn: np.ndarray
    seconds: float
    carried: float
    noise: float


def drawn_signer(rng: np.random.Generator) -> Signer:
    """A signer at random."""
    return Signer(
        bones=_BONES * rng.uniform(0.93, 1.07, (5, 1)) * rng.uniform(0.95, 1.05),
        spread=float(rng.uniform(0.85, 1.15)),
        turn=rng.normal(0, [0.06, 0.1, 0.05]),
        seconds=float(rng.uniform(0.7, 1.4)),
        carried=float(rng.uniform(0.1, 0.5)),
        noise=float(rng.uniform(0.005, 0.02)),
    )


def number_sign(number: str, signer: Signer, rng: np.random.Generator) -> np.ndarray:
    """The joints (frames, 75, 3) of a sign in pixels, NaN but for the right hand: it opens into the
    number, holds it and lets go."""
    frames = max(round(signer.seconds * FPS), 8)
    time = np.linspace(0, 1, frames)
    shape = np.clip(np.minimum(time, 1 - time) / 0.25, 0, 1)
    shape = shape * shape * (3 - 2 * shape)
    wanted = np.array(_NUMBERS[number]) + rng.normal(0, 0.04, 5)
    bent = _HALF + shape[:, None] * (wanted - _HALF)
    hand = np.stack([_hand(one, signer) for one in bent])
    turn = np.pi * time
    path = signer.carried * np.stack([np.sin(turn), 0.5 * np.cos(turn), 0 * time], 1)
    hand = hand @ _rotation(signer.turn).T + path[:, None]
    hand += rng.normal(0, signer.noise, hand.shape)
    joints = np.full((frames, JOINTS, 3), np.nan)
    joints[:, RIGHT_HAND] = np.round(_PALM_PIXELS * hand + [320, 240, 0], 1)
    return joints


def _hand(bent: np.ndarray, signer: Signer) -> np.ndarray:
    """The 21 joints of a hand whose fingers are bent so far (5,)."""
    points, into = [np.zeros(3)], np.array([0.0, 0.0, 1.0])
    for finger in range(5):
        at = np.array([*_ROOTS[finger], 0.0])
        aside = signer.spread * _DIRECTIONS[finger]
        angle = 0.0
        points.append(at)
        for joint in range(3):
            angle += bent[finger] * _MOST_BENT[joint]
            along = np.array([np.sin(aside), -np.cos(aside), 0.0]) * np.cos(angle)
            at = at + signer.bones[finger, joint] * (along - into * np.sin(angle))
            points.append(at)
    return np.array(points)


def _rotation(angles: np.ndarray) -> np.ndarray:
    """Rotation about x, y and z, in this order."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(angles), np.sin(angles)
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return np.asarray(about_z @ about_y @ about_x)
