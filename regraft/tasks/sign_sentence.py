"""Sentences of signs: words one after the other, the hand on its way to the next in between.

A word that the lexicon lacks is fingerspelled where it has all letters; otherwise it is said to be
unknown, and the figure rests.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from regraft.data.motion import Motion
from regraft.data.sign_lexicon import FPS
from regraft.data.skeleton import HAND_JOINTS, JOINTS, RIGHT_HAND, positions

_SHORTEST, _LONGEST = 4, 16  # frames of a transition
_FRAMES_PER_PALM = 4.0
_AWAY = 1.0
_REST_FRAMES = FPS // 2
_WORDS = re.compile(r"\w+")


@dataclass(frozen=True)
class Part:
    """A stretch of a sentence: what is signed, `how` ("sign", "fingerspelled", "unknown" or
    "transition"), and its first and last frame."""

    text: str
    how: str
    start: int
    end: int


class Signs(Protocol):
    """What can sign words: recorded signs (`data.sign_lexicon`) or a model (`tasks.signer`)."""

    @property
    def labels(self) -> list[str]: ...
    def knows(self, label: str) -> bool: ...
    def sign(self, label: str) -> np.ndarray: ...


def sentence(text: str, lexicon: Signs) -> tuple[np.ndarray, list[Part]]:
    """The frames (n, SIGN_DIM) at `FPS` of the words of a text, and what they are.

    No frames where no word is known.
    """
    frames: list[np.ndarray] = []
    parts: list[Part] = []
    count = 0
    for word, label, how in _labels(text, lexicon):
        if how == "unknown":
            added = np.repeat(frames[-1][-1:], _REST_FRAMES, 0) if frames else None
        else:
            added = _core(lexicon.sign(label))
            if frames:
                way = transition(frames[-1][-1], added[0])
                frames.append(way)
                parts.append(Part("", "transition", count, count + len(way)))
                count += len(way)
        length = 0 if added is None else len(added)
        parts.append(Part(word if how != "fingerspelled" else label, how, count, count + length))
        if added is not None:
            frames.append(added)
            count += length
    return (np.concatenate(frames) if frames else np.empty((0, 0))), parts


def transition(first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """Frames (n, SIGN_DIM) between two, without them: the longer the way, the more; the joints
    start and stop without a jolt (minimum jerk, Flash and Hogan, J. Neurosci. 5, 1985)."""
    ends = positions(np.stack([first, last]))
    way = float(np.linalg.norm(ends[1] - ends[0], axis=1).mean())
    n = int(np.clip(round(way * _FRAMES_PER_PALM), _SHORTEST, _LONGEST))
    time = np.arange(1, n + 1)[:, None] / (n + 1)
    share = 10 * time**3 - 15 * time**4 + 6 * time**5
    return np.asarray(first + share * (last - first))


def _labels(text: str, lexicon: Signs) -> list[tuple[str, str, str]]:
    """(word, label, how) of all that is to be signed."""
    found = []
    for word in _WORDS.findall(text):
        if lexicon.knows(word):
            found.append((word, word, "sign"))
        elif all(lexicon.knows(letter) for letter in word):
            found += [(word, letter, "fingerspelled") for letter in word]
        else:
            found.append((word, "", "unknown"))
    return found


def _core(sign: np.ndarray) -> np.ndarray:
    """Without the frames at both ends in which the wrist is still away from where the sign is
    made: on its way up or down."""
    wrist = sign[:, HAND_JOINTS * 3 :]
    near = np.flatnonzero(np.linalg.norm(wrist - np.median(wrist, 0), axis=1) <= _AWAY)
    return sign[near[0] : near[-1] + 1]


def as_motion(frames: np.ndarray) -> Motion:
    """A sentence (n, SIGN_DIM) as a motion: the right hand alone, in hundredths of a palm."""
    joints = np.full((len(frames), JOINTS, 3), np.nan)
    joints[:, RIGHT_HAND] = 100 * positions(frames)
    return Motion(joints, FPS)
