"""Motion files: what is read, written, and refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from regraft.data.motion import Motion, inspect_motion, open_motion, write_pose
from regraft.data.skeleton import JOINTS, LEFT_HAND, RIGHT_HAND, normalised_hand, positions
from regraft.errors import UserError


def moving(frames: int = 12, seed: int = 0) -> np.ndarray:
    """A body, a right hand that drifts, and no left hand."""
    rng = np.random.default_rng(seed)
    joints = np.repeat(rng.normal(0, 50, (1, JOINTS, 3)), frames, 0)
    joints = joints + 100 + rng.normal(0, 1, joints.shape)
    joints[:, LEFT_HAND] = np.nan
    return joints


def npz(path: Path, joints: np.ndarray, fps: float = 25) -> Path:
    np.savez(path, joints=joints, fps=fps)
    return path


def test_a_pose_file_gives_back_what_was_written(tmp_path: Path) -> None:
    joints = moving()
    write_pose(Motion(joints, 25), tmp_path / "a.pose")
    read = open_motion(tmp_path / "a.pose")
    assert read.fps == 25
    np.testing.assert_allclose(read.joints, joints, rtol=1e-5)


def with_values(**changes: object) -> np.ndarray:
    joints = moving()
    for part, value in changes.items():
        where = {"hand": RIGHT_HAND, "all": slice(None)}[part]
        joints[:, where] = value
    return joints


BAD = {
    "no_hands": with_values(hand=np.nan),
    "frozen": np.repeat(moving(1), 12, 0),
    "not_finite": with_values(hand=np.inf),
    "missing_joints": moving()[:, :54],
    "too_short": moving(3),
    "too_long": moving(25 * 61),
    "exploding": np.where(np.arange(12)[:, None, None] == 5, 40 * moving(), moving()),
}


@pytest.mark.parametrize("reason", BAD)
def test_bad_motions_are_refused_with_their_reason(tmp_path: Path, reason: str) -> None:
    path = npz(tmp_path / "bad.npz", BAD[reason])
    assert inspect_motion(path)["reason"] == reason
    with pytest.raises(UserError, match=reason):
        open_motion(path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "empty_file"), (b"not a pose file", "not_a_motion"), (b"PK broken", "corrupt")],
)
def test_bytes_that_are_no_motion(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "bad.pose"
    path.write_bytes(content)
    assert inspect_motion(path)["reason"] == reason


def test_a_pose_file_without_hands_is_refused(tmp_path: Path) -> None:
    write_pose(Motion(BAD["no_hands"], 25), tmp_path / "bad.pose")
    assert inspect_motion(tmp_path / "bad.pose")["reason"] == "no_hands"
    with pytest.raises(UserError, match="no_hands"):
        open_motion(tmp_path / "bad.pose")


def test_a_pose_without_any_joint_is_written_and_refused_when_read(tmp_path: Path) -> None:
    write_pose(Motion(with_values(all=np.nan), 25), tmp_path / "none.pose")
    assert inspect_motion(tmp_path / "none.pose")["reason"] == "no_hands"


def test_tracked_joints_that_are_not_numbers_are_refused(tmp_path: Path) -> None:
    import pose_format

    path = tmp_path / "a.pose"
    write_pose(Motion(moving(), 25), path)
    pose = pose_format.Pose.read(path.read_bytes())
    pose.body.data[3, 0, 60] = np.nan
    with path.open("wb") as file:
        pose.write(file)
    assert inspect_motion(path)["reason"] == "not_finite"


def test_a_frame_rate_that_no_camera_has(tmp_path: Path) -> None:
    assert inspect_motion(npz(tmp_path / "a.npz", moving(), fps=0))["reason"] == "frame_rate"


def test_a_good_motion_is_measured(tmp_path: Path) -> None:
    joints = moving()
    joints[4, RIGHT_HAND] = joints[3, RIGHT_HAND]
    facts = inspect_motion(npz(tmp_path / "a.npz", joints))
    assert (facts["reason"], facts["frames"], facts["hand_share"]) == ("", 12, 1.0)
    assert facts["quality_flags"] == "repeated_frames"


def test_normalised_signs_do_not_see_size_place_or_side() -> None:
    joints = moving()
    moved = joints * 3 + 70
    mirrored = joints * [-1, 1, 1]
    mirrored[:, LEFT_HAND], mirrored[:, RIGHT_HAND] = (
        mirrored[:, RIGHT_HAND].copy(),
        mirrored[:, LEFT_HAND].copy(),
    )
    sign = normalised_hand(joints)
    np.testing.assert_allclose(normalised_hand(moved), sign, atol=1e-9)
    np.testing.assert_allclose(normalised_hand(mirrored), sign, atol=1e-9)


def test_gaps_are_filled_and_ends_cut() -> None:
    joints = moving()
    gapped = joints.copy()
    gapped[[0, 5, 11], RIGHT_HAND] = np.nan
    sign = positions(normalised_hand(gapped))
    assert len(sign) == 10
    np.testing.assert_allclose(sign[4], (sign[3] + sign[5]) / 2)
    gapped[:, RIGHT_HAND] = np.nan
    with pytest.raises(ValueError, match="no hand"):
        normalised_hand(gapped)
