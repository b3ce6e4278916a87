"""From words to one motion: signs, spelling, honest gaps, and the way between them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from regraft.data.motion import Motion, open_motion, write_pose
from regraft.data.sign_lexicon import FPS, SignLexicon, read_lexicon
from regraft.data.skeleton import HAND_JOINTS, JOINTS, RIGHT_HAND, SIGN_DIM, positions
from regraft.errors import UserError
from regraft.tasks.sign_sentence import as_motion, sentence, transition


def lexicon_folder(folder: Path, labels: str = "1 2 a b", source: str = "here") -> Path:
    """One second of a hand that is another one for each label."""
    folder.mkdir(exist_ok=True)
    rows = []
    for number, label in enumerate(labels.split()):
        rng = np.random.default_rng(number)
        joints = np.full((30, JOINTS, 3), np.nan)
        shape = rng.normal(0, 40, (HAND_JOINTS, 3))
        joints[:, RIGHT_HAND] = 200 + shape + rng.normal(0, 0.5, (30, HAND_JOINTS, 3))
        write_pose(Motion(joints, 30), folder / f"{label}.pose")
        rows.append({"file": f"{label}.pose", "label": label.upper(), "source": source})
    (folder / "index.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    return folder


@pytest.fixture
def lexicon(tmp_path: Path) -> SignLexicon:
    return read_lexicon(lexicon_folder(tmp_path / "signs"), [])


def test_words_are_signed_spelled_or_said_to_be_unknown(lexicon: SignLexicon) -> None:
    frames, parts = sentence("1 ab zebra 2", lexicon)
    said = [(part.text, part.how) for part in parts if part.how != "transition"]
    assert said == [
        ("1", "sign"),
        ("a", "fingerspelled"),
        ("b", "fingerspelled"),
        ("zebra", "unknown"),
        ("2", "sign"),
    ]
    assert [part.start for part in parts[1:]] == [part.end for part in parts[:-1]]
    assert parts[-1].end == len(frames)


def test_signs_come_at_one_frame_rate(lexicon: SignLexicon) -> None:
    assert lexicon.sign("1").shape == (FPS, SIGN_DIM)  # 30 frames at 30 per second


def test_nothing_known_gives_no_frames(lexicon: SignLexicon) -> None:
    frames, parts = sentence("zebra", lexicon)
    assert len(frames) == 0
    assert [part.how for part in parts] == ["unknown"]


def test_the_hand_does_not_jump_between_signs(lexicon: SignLexicon) -> None:
    frames, parts = sentence("1 2", lexicon)
    steps = np.linalg.norm(np.diff(positions(frames), axis=0), axis=2).mean(1)
    first, last = lexicon.sign("1")[-1:], lexicon.sign("2")[:1]
    jump = np.linalg.norm(positions(first) - positions(last), axis=2).mean()
    assert steps.max() < 0.5 * jump
    assert next(part for part in parts if part.how == "transition").end > parts[0].end


def test_a_transition_starts_and_stops_slowly_and_grows_with_its_way() -> None:
    here, there = np.zeros(SIGN_DIM), np.full(SIGN_DIM, 1.0)
    steps = np.diff(np.concatenate([here[None], transition(here, there), there[None]])[:, 0])
    middle = steps[len(steps) // 2]
    assert steps[0] < middle / 3 and steps[-1] < middle / 3 and (steps > 0).all()
    assert len(transition(here, there)) > len(transition(here, 0.1 * there))


def test_the_motion_that_is_written_is_the_one_that_is_played(
    lexicon: SignLexicon, tmp_path: Path
) -> None:
    frames, _ = sentence("1 2", lexicon)
    write_pose(as_motion(frames), tmp_path / "a.pose")
    read = open_motion(tmp_path / "a.pose")
    np.testing.assert_allclose(
        read.joints[:, RIGHT_HAND], 100 * positions(frames), rtol=1e-4, atol=1e-3
    )


def test_a_source_that_is_not_there_is_refused(tmp_path: Path) -> None:
    folder = lexicon_folder(tmp_path / "signs")
    with pytest.raises(UserError, match="no sign comes from this source"):
        read_lexicon(folder, ["elsewhere"])
    with pytest.raises(UserError, match="holds no signs"):
        read_lexicon(tmp_path, [])
