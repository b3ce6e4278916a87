"""Recordings are listed with their speakers and paired with usable motions of one source."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from regraft.data.examples.number_signs import FPS, drawn_signer, number_sign
from regraft.data.motion import Motion, write_pose
from regraft.data.recordings import list_recordings, unlabelled_motions
from regraft.data.skeleton import LEFT_HAND, RIGHT_HAND
from regraft.errors import UserError

SPEAKERS = ("ann", "bob")


def listed(root: Path, **options: object) -> pd.DataFrame:
    return list_recordings(
        root,
        store=root.parent / "store",
        source_domain="",
        target_domain="",
        classes=[],
        **options,  # type: ignore[arg-type]
    )


def joints(label: str = "1", seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return number_sign(label, drawn_signer(rng), rng)


def write_signs(
    folder: Path, rows: list[tuple[str, str, np.ndarray]], suffix: str = ".npz"
) -> None:
    """Files of (label, source, joints), and their index."""
    folder.mkdir(parents=True)
    index = []
    for number, (label, source, motion) in enumerate(rows):
        file = folder / f"{number}{suffix}"
        if suffix == ".npz":
            np.savez(file, joints=motion, fps=FPS)
        else:
            write_pose(Motion(motion, FPS), file)
        index.append({"file": file.name, "label": label, "source": source})
    (folder / "index.jsonl").write_text("".join(json.dumps(row) + "\n" for row in index))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two words by two speakers, twice each."""
    rows = []
    (tmp_path / "pack" / "speech").mkdir(parents=True)
    for speaker in SPEAKERS:
        for label in ("1", "2"):
            for take in range(2):
                name = f"{label}_{speaker}_{take}.wav"
                soundfile.write(tmp_path / "pack/speech" / name, np.zeros(9), 16_000)
                rows.append({"file": name, "label": label, "speaker": speaker})
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "pack/speech/index.jsonl").write_text(text)
    return tmp_path / "pack"


def test_every_recording_is_paired_with_a_motion_of_its_word_and_a_speaker_is_a_group(
    root: Path,
) -> None:
    write_signs(root / "sign", [("1", "x", joints()), ("2", "x", joints()), ("1", "x", joints())])
    table = listed(root)
    assert table["group"].tolist() == table["speaker"].tolist()
    numbers = table["motion"].map(lambda path: Path(path).stem)
    assert set(numbers[table["label"] == "1"]) == {"0", "2"}  # in turn
    assert set(numbers[table["label"] == "2"]) == {"1"}


def test_signs_of_two_languages_are_never_mixed(root: Path) -> None:
    both = [("1", "x", joints()), ("2", "x", joints()), ("1", "y", joints(seed=1))]
    letters = [(letter, "z", joints()) for letter in "abcdef"]
    write_signs(root / "sign", both + letters)
    assert {Path(p).stem for p in listed(root)["motion"]} == {"0", "1"}
    one = listed(root, sign_source="y")
    assert set(one["motion"]) == {"", str(root / "sign" / "2.npz")}
    with pytest.raises(UserError, match="no sign comes from this source"):
        listed(root, sign_source="nobody")


def without_hands(motion: np.ndarray) -> np.ndarray:
    found = np.where(np.isnan(motion), motion[:, RIGHT_HAND][:, :1], motion)
    found[:, LEFT_HAND] = found[:, RIGHT_HAND] = np.nan
    return found


def with_infinity(motion: np.ndarray) -> np.ndarray:
    return np.where(np.arange(len(motion))[:, None, None] == 3, np.inf, motion)


@pytest.mark.parametrize(
    ("spoilt", "reason", "suffix"),
    [
        (without_hands, "no_hands", ".npz"),
        (without_hands, "no_hands", ".pose"),
        (with_infinity, "not_finite", ".npz"),
    ],
)
def test_a_motion_that_cannot_be_used_is_left_out_of_pairs_and_named_in_a_table(
    root: Path,
    spoilt: Callable[[np.ndarray], np.ndarray],
    reason: str,
    suffix: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_signs(root / "sign", [("1", "x", spoilt(joints())), ("1", "x", joints())], suffix)
    assert {Path(p).stem for p in listed(root)["motion"] if p} == {"1"}
    assert reason in capsys.readouterr().err
    rows = [{"path": "speech/1_ann_0.wav", "label": "1", "motion": f"sign/0{suffix}"},
            {"path": "speech/2_bob_0.wav", "label": "2", "motion": ""}]  # fmt: skip
    (root / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    table = listed(root / "pairs.jsonl")
    assert table["reason"].tolist() == [f"motion_{reason}", ""]


def test_motions_of_other_sources_are_unlabelled_and_none_of_the_paired_one_is(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = [("1", "x", joints()), ("2", "x", joints()), ("a", "x", joints())]
    others = [("1", "y", joints(seed=1)), ("b", "z", joints()), ("c", "z", without_hands(joints()))]
    write_signs(root / "sign", own + others)
    rows = listed(root)
    assert set(rows["lexicon"]) == {str(root / "sign")}
    assert [path.stem for path in unlabelled_motions(rows)] == ["3", "4"]
    assert "5.npz (no_hands)" in capsys.readouterr().err
    one = rows[rows["label"] == "1"]  # of a word alone: the whole source is still left out
    assert [path.stem for path in unlabelled_motions(one)] == ["3", "4"]
    assert unlabelled_motions(rows.drop(columns="lexicon")) == []
    assert unlabelled_motions(rows.assign(lexicon="")) == []


def test_a_table_may_name_the_lexicon_of_its_motions_which_has_to_list_them(root: Path) -> None:
    write_signs(root / "sign", [("1", "x", joints()), ("1", "y", joints(seed=1))])
    np.savez(root / "mine.npz", joints=joints(seed=2), fps=FPS)

    def with_motion(motion: str) -> pd.DataFrame:
        row = {"path": "speech/1_ann_0.wav", "label": "1", "motion": motion, "lexicon": "sign"}
        (root / "pairs.jsonl").write_text(json.dumps(row) + "\n")
        return listed(root / "pairs.jsonl")

    assert [path.stem for path in unlabelled_motions(with_motion("sign/0.npz"))] == ["1"]
    with pytest.raises(UserError, match="a motion is not in its lexicon"):
        with_motion("mine.npz")


def test_synthetic_voices_train_and_never_test(root: Path) -> None:
    table = listed(root, synthetic_voices=2)
    voices = table[table["speaker"].str.startswith("synthetic")]
    assert len(voices) == 4 and set(voices["split"]) == {"train"}
    assert all(Path(path).is_file() for path in voices["path"])
    assert set(table["split"].drop(index=voices.index)) == {""}
    again = listed(root, synthetic_voices=2)
    assert again["path"].tolist() == table["path"].tolist()
    table.drop(columns=["reason", "detail", "id"]).to_csv(root / "said.csv", index=False)
    assert len(listed(root / "said.csv", synthetic_voices=2)) == len(table)
