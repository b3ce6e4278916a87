"""The one place where motion files are opened and written: `.pose` and `.npz`.

A motion is the joints (frames, 75, 3) of one person in MediaPipe's order (`data.skeleton`), NaN
where a joint was not tracked, and its frames per second.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from regraft.data.files import atomic_write
from regraft.data.rejection import RejectedError, told_to_user
from regraft.data.skeleton import HAND_BONES, JOINTS, LEFT_HAND, RIGHT_HAND

DEFAULT_MAX_SECONDS = 60.0

_COMPONENTS = (
    ("POSE_LANDMARKS", 33),
    ("LEFT_HAND_LANDMARKS", 21),
    ("RIGHT_HAND_LANDMARKS", 21),
)
_LEAST_FRAMES = 5
_RATES = (5.0, 240.0)
_LEAST_HAND_SHARE = 0.3
_FROZEN_SHARE = 0.5
_EXPLODES = 8.0
"""A bone is longer than this many times its median: the tracker jumped."""


@dataclass(frozen=True)
class Motion:
    """`joints` (frames, 75, 3), NaN where untracked, at `fps` frames per second."""

    joints: np.ndarray
    fps: float


def open_motion(path: str | Path, *, max_seconds: float = DEFAULT_MAX_SECONDS) -> Motion:
    """The motion of a `.pose` file, or of an `.npz` file with `joints` and `fps`.

    Raises UserError for what is no motion, lacks components, has no hands, values that are not
    finite, a frame rate that no camera has, or bones that explode.
    """
    path = Path(path)
    expected = "a .pose file with MediaPipe's body and hands, or an .npz with joints and fps"
    with told_to_user("motion", where=str(path), expected=expected):
        motion = _decode(path.read_bytes())
        _check(motion, max_seconds=max_seconds)
    return motion


def inspect_motion(path: Path, *, max_seconds: float = DEFAULT_MAX_SECONDS) -> dict[str, Any]:
    """Measure one motion (an `inspection.Inspector`).

    Returns size (bytes), sha256, frames, fps, seconds, hand_share (frames with a hand),
    frozen_share (frames equal to the one before), quality_flags, perceptual_hash '' and reason ''.
    A rejected motion has a reason (empty_file, not_a_motion, corrupt, missing_joints, not_finite,
    no_hands, frozen, exploding, frame_rate, too_short, too_long), a detail, size and sha256 only.

    Raises OSError when the file itself cannot be read.
    """
    data = Path(path).read_bytes()
    facts = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    try:
        motion = _decode(data)
        _check(motion, max_seconds=max_seconds)
    except RejectedError as error:
        return facts | {"reason": error.reason, "detail": error.detail}
    frames, frozen = len(motion.joints), _frozen_share(motion.joints)
    return facts | {
        "frames": frames,
        "fps": motion.fps,
        "seconds": round(frames / motion.fps, 3),
        "hand_share": round(_hand_share(motion.joints), 3),
        "frozen_share": round(frozen, 3),
        "perceptual_hash": "",
        "quality_flags": "repeated_frames" if frozen > 0 else "",
        "reason": "",
        "detail": "",
    }


def write_pose(motion: Motion, path: Path) -> None:
    """Write a `.pose` file (format of the package pose-format, version 0.1)."""
    from pose_format import Pose
    from pose_format.numpy import NumPyPoseBody
    from pose_format.pose_header import PoseHeader, PoseHeaderComponent, PoseHeaderDimensions

    components = [
        PoseHeaderComponent(
            name=name,
            points=[f"{name}_{i}" for i in range(count)],
            limbs=HAND_BONES if count == 21 else [],
            colors=[(40, 90, 160)],
            point_format="XYZC",
        )
        for name, count in _COMPONENTS
    ]
    tracked = np.isfinite(motion.joints).all(2)
    data = np.ma.array(np.nan_to_num(motion.joints)[:, None].astype(np.float32))
    body = NumPyPoseBody(motion.fps, data, tracked[:, None].astype(np.float32))
    size = int(np.abs(data).max()) + 1
    pose = Pose(PoseHeader(0.1, PoseHeaderDimensions(size, size, size), components), body)

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            pose.write(file)

    atomic_write(path, write)


def _decode(data: bytes) -> Motion:
    if not data:
        raise RejectedError("empty_file", "there are no bytes")
    motion = _from_npz(data) if data.startswith(b"PK") else _from_pose(data)
    if motion.joints.ndim != 3 or motion.joints.shape[1:] != (JOINTS, 3):
        raise RejectedError(
            "missing_joints", f"joints of shape {motion.joints.shape}, not (frames, {JOINTS}, 3)"
        )
    return motion


def _from_npz(data: bytes) -> Motion:
    try:
        with np.load(io.BytesIO(data)) as arrays:  # refuses pickles
            return Motion(np.asarray(arrays["joints"], np.float64), float(arrays["fps"]))
    except KeyError as error:
        raise RejectedError("missing_joints", f"the archive has no {error}") from error
    except (ValueError, TypeError, zipfile.BadZipFile, EOFError) as error:
        raise RejectedError("corrupt", f"the archive is damaged: {error}") from error


def _from_pose(data: bytes) -> Motion:
    from pose_format import Pose

    try:
        pose = Pose.read(data)
        found = {c.name: len(c.points) for c in pose.header.components}
        values, confidence = pose.body.data, np.asarray(pose.body.confidence)
    except Exception as error:  # the parser raises whatever the bytes lead it to
        raise RejectedError("not_a_motion", f"no .pose file: {error}") from error
    lacking = [name for name, count in _COMPONENTS if found.get(name) != count]
    if lacking:
        raise RejectedError("missing_joints", f"without {', '.join(lacking)}")
    if values.shape[1] != 1:
        raise RejectedError("missing_joints", f"{values.shape[1]} people instead of one")
    where = np.concatenate([_points(pose.header.components, name) for name, _ in _COMPONENTS])
    joints = np.ma.getdata(values)[:, 0, where].astype(np.float64)
    seen = confidence[:, 0, where] > 0
    if not np.isfinite(joints[seen]).all():
        raise RejectedError("not_finite", "tracked joints are NaN or infinite")
    return Motion(np.where(seen[..., None], joints, np.nan), float(pose.body.fps))


def _points(components: Any, wanted: str) -> np.ndarray:
    start = 0
    for component in components:
        if component.name == wanted:
            break
        start += len(component.points)
    return np.arange(start, start + len(component.points))


def _check(motion: Motion, *, max_seconds: float) -> None:
    frames = len(motion.joints)
    if not _RATES[0] <= motion.fps <= _RATES[1]:
        raise RejectedError(
            "frame_rate",
            f"{motion.fps:g} frames per second, expected {_RATES[0]:g} to {_RATES[1]:g}",
        )
    if frames < _LEAST_FRAMES:
        raise RejectedError("too_short", f"{frames} frames, at least {_LEAST_FRAMES}")
    if frames / motion.fps > max_seconds:
        raise RejectedError("too_long", f"{frames / motion.fps:.0f} s, at most {max_seconds:g}")
    if np.isinf(motion.joints).any():
        raise RejectedError("not_finite", "joints are infinite")
    share = _hand_share(motion.joints)
    if share < _LEAST_HAND_SHARE:
        raise RejectedError("no_hands", f"a hand is tracked in {share:.0%} of the frames")
    if _frozen_share(motion.joints) > _FROZEN_SHARE:
        raise RejectedError("frozen", "most frames repeat the one before")
    jump = _longest_bone(motion.joints)
    if jump > _EXPLODES:
        raise RejectedError("exploding", f"a bone grows to {jump:.0f} times its usual length")


def _hands(joints: np.ndarray) -> list[np.ndarray]:
    return [joints[:, LEFT_HAND], joints[:, RIGHT_HAND]]


def _hand_share(joints: np.ndarray) -> float:
    seen = [np.isfinite(hand).all((1, 2)) for hand in _hands(joints)]
    return float((seen[0] | seen[1]).mean())


def _frozen_share(joints: np.ndarray) -> float:
    """Share of frames in which a tracked hand equals the frame before."""
    still = np.zeros(len(joints) - 1, bool)
    for hand in _hands(joints):
        still |= (hand[1:] == hand[:-1]).all((1, 2))
    return float(still.mean())


def _longest_bone(joints: np.ndarray) -> float:
    """The longest a bone of the palm gets, in its medians."""
    longest = 0.0
    for hand in _hands(joints):
        tracked = hand[np.isfinite(hand).all((1, 2))]
        if len(tracked) < 2:
            continue
        ends = np.array(HAND_BONES)
        lengths = np.linalg.norm(tracked[:, ends[:, 0]] - tracked[:, ends[:, 1]], axis=2)
        usual = np.maximum(np.median(lengths.mean(1)), 1e-9)
        longest = max(longest, float(lengths.mean(1).max() / usual))
    return longest
