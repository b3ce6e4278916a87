"""How good is generated motion? Errors after alignment, smoothness, bones, and recognisability.

Motions are joints (frames, joints, 3) in palm lengths.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from regraft.backbones.heads.linear import LinearHead
from regraft.backbones.heads.ridge import ridge_head
from regraft.data.alignment import aligned_frames, joint_distances
from regraft.data.skeleton import HAND_BONES, HAND_JOINTS, resampled

_PCK_RADIUS = 0.2
_PHASES = 8
_LEAST_DEVIATION = 0.05


def dtw_mje(generated: np.ndarray, real: np.ndarray) -> float:
    """Mean joint error along the alignment (DTW-MJE; Huang et al., "Towards Fast and High-Quality
    Sign Language Production", ACM MM 2021).

    Raises ValueError for motions without frames or with NaN: an error of nothing is no number.
    """
    for motion in (generated, real):
        if not len(motion) or not np.isfinite(motion).all():
            raise ValueError("a motion without frames, or with NaN, has no error")
    costs = joint_distances(generated, real)
    return float(costs[tuple(aligned_frames(costs).T)].mean())


def pck(generated: np.ndarray, real: np.ndarray, radius: float = _PCK_RADIUS) -> float:
    """Share of joints within `radius` palm lengths of the real ones, along the alignment."""
    pairs = aligned_frames(joint_distances(generated, real))
    apart = np.linalg.norm(generated[pairs[:, 0]] - real[pairs[:, 1]], axis=-1)
    return float((apart <= radius).mean())


def derivative(motion: np.ndarray, fps: float, order: int) -> float:
    """Mean length of the `order`-th derivative of the joints (1 velocity, 3 jerk), in palm lengths
    per second to the order; NaN where there are too few frames."""
    changes = np.diff(motion, n=order, axis=0) * fps**order
    return float(np.linalg.norm(changes, axis=-1).mean()) if len(changes) else float("nan")


def bone_instability(motion: np.ndarray) -> float:
    """Standard deviation over time of each bone's length, in its mean; averaged. 0 is rigid."""
    ends = np.array(HAND_BONES)
    lengths = np.linalg.norm(motion[:, ends[:, 0]] - motion[:, ends[:, 1]], axis=2)
    return float((lengths.std(0) / np.maximum(lengths.mean(0), 1e-9)).mean())


class SignClassifier:
    """Back-recognition: names real signs, and so says whether generated ones are recognisable.

    Ridge regression on the hand's shape at eight moments; it must be fitted on real motion only.
    """

    def __init__(self, signs: Sequence[np.ndarray], words: np.ndarray) -> None:
        features = np.stack([_shape(sign) for sign in signs])
        self.mean, self.deviation = features.mean(0), features.std(0) + _LEAST_DEVIATION
        self.head: LinearHead = ridge_head(self._scaled(features), words, strength=100.0)

    def answer(self, signs: Sequence[np.ndarray]) -> np.ndarray:
        """The word (n,) of each normalised sign (frames, SIGN_DIM)."""
        scaled = self._scaled(np.stack([_shape(sign) for sign in signs]))
        return np.asarray(self.head.logits(scaled).argmax(1))

    def accuracy(self, signs: Sequence[np.ndarray], words: np.ndarray) -> float:
        """Share of the signs that are named as `words` (n,) says."""
        return float((self.answer(signs) == np.asarray(words)).mean())

    def _scaled(self, features: np.ndarray) -> np.ndarray:
        return np.asarray((features - self.mean) / self.deviation / features.shape[1] ** 0.5)


def _shape(sign: np.ndarray) -> np.ndarray:
    """The joints from the wrist, at eight moments of the sign."""
    hand: np.ndarray = resampled(sign, _PHASES)[:, : HAND_JOINTS * 3].ravel()
    return hand
