"""Recordings with motions: what is held out is not learned from, and what is learned signs."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from regraft.backbones.motion_autoencoder import MotionAutoencoder
from regraft.data.examples.number_signs import FPS, drawn_signer, number_sign
from regraft.errors import UserError
from regraft.steps import signing
from regraft.tasks.signer import Signer

WORDS = ["1", "5"]
OPTIONS = {"signing": {"plan": {"kind": "full", "epochs": 60}}}


def manifest(folder: Path, per_word: int = 8) -> pd.DataFrame:
    """Two words, each recording with a motion of its own; the last two of each test."""
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    rows = []
    for number in range(per_word):
        signer = drawn_signer(rng)
        for word in WORDS:
            path = folder / f"{word}_{number}.npz"
            np.savez(path, joints=number_sign(word, signer, rng), fps=FPS)
            split = "test" if number >= per_word - 2 else "train"
            rows.append((word, str(path), f"signer{number}", "ann", split))
    return pd.DataFrame(rows, columns=["label", "motion", "signer", "speaker", "split"])


def test_every_fourth_motion_of_a_word_is_held_out_and_stays_so(tmp_path: Path) -> None:
    rows = manifest(tmp_path)
    found = signing.motions_of(rows)
    assert found.groupby("label")["held_out"].sum().tolist() == [2, 2]
    twice = signing.motions_of(pd.concat([rows, rows]).sample(frac=1, random_state=0))
    assert twice["motion"].tolist() == found["motion"].tolist()
    assert not signing.motions_of(rows[rows["signer"] < "signer3"])["held_out"].any()


def test_rows_without_motions_want_no_signer(tmp_path: Path) -> None:
    rows = manifest(tmp_path)
    assert signing.wanted(rows)
    assert not signing.wanted(rows.assign(motion=""))
    assert not signing.wanted(rows.assign(motion=None))
    assert not signing.wanted(rows.drop(columns="motion"))


def test_a_signer_is_written_and_judged_by_signs_it_has_not_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = manifest(tmp_path / "motions")
    monkeypatch.setattr(signing, "_PRETRAINING_STEPS", 40)
    (tmp_path / "model.json").write_text(json.dumps({"classes": [*WORDS, "unsigned"]}))
    signing.write(rows, tmp_path, tmp_path, options=OPTIONS, seed=0)
    signer = Signer.load(tmp_path)
    assert signer is not None and signer.unsigned == {"unsigned"}
    predictor = SimpleNamespace(signer=signer, classes=[*WORDS, "unsigned"])
    # every motion is beside some test recording, so that all that is held out can be looked at
    test = rows.assign(split="test")
    logits = np.array(
        [[5.0 * (label == word) for word in predictor.classes] for label in test["label"]]
    )
    found = signing.measure(predictor, test, logits, seed=0)
    assert found["signing"]["held_out_signs"] == 4
    assert found["signing"]["ceiling"] == 1 and found["signing"]["back_recognition"] >= 0.5
    assert found["signing"]["dtw_mje"] < found["signing"]["dtw_mje_still"]
    assert found["signing"]["pretraining_motions"] == {"own": 10, "of_other_sources": 0}
    assert found["speakers"]["plain"] == 1
    assert [picture["word"] for picture in found["pictures"]] == WORDS


def test_the_decoder_is_pretrained_on_motions_of_other_sources_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = manifest(tmp_path / "motions").assign(lexicon=str(tmp_path / "motions"))
    sources = {Path(path).name: "served" for path in rows["motion"]}
    rng = np.random.default_rng(1)
    for number in range(3):
        sources[f"other_{number}.npz"] = "other"
        motion = number_sign("7", drawn_signer(rng), rng)
        np.savez(tmp_path / "motions" / f"other_{number}.npz", joints=motion, fps=FPS)
    listed = [{"file": f, "label": f[0], "source": source} for f, source in sources.items()]
    index = tmp_path / "motions" / "index.jsonl"
    index.write_text("".join(json.dumps(row) + "\n" for row in listed))
    (tmp_path / "model.json").write_text(json.dumps({"classes": WORDS}))
    seen: list[int] = []

    def pretrain(signs: list[np.ndarray], *, steps: int, seed: int) -> MotionAutoencoder:
        seen.append(len(signs))
        return MotionAutoencoder().eval()

    monkeypatch.setattr("regraft.training.motion_pretraining.pretrain_motion", pretrain)
    signing.write(rows, tmp_path, tmp_path, options=OPTIONS, seed=0)
    signer = Signer.load(tmp_path)
    assert signer is not None
    assert signer.pretraining_motions == {"own": 10, "of_other_sources": 3}
    assert seen == [13]


def test_one_word_with_a_motion_is_no_signer_and_it_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = manifest(tmp_path / "motions")
    (tmp_path / "model.json").write_text(json.dumps({"classes": WORDS}))
    signing.write(rows[rows["label"] == "1"], tmp_path, tmp_path, options=OPTIONS, seed=0)
    assert Signer.load(tmp_path) is None
    assert "1 words have a motion" in capsys.readouterr().err


def test_motions_are_the_partners_of_their_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = manifest(tmp_path / "motions")
    monkeypatch.setattr(signing, "_PRETRAINING_STEPS", 40)
    found = signing.partners(rows, [*WORDS, "unsigned"], seed=0)
    assert found.classes.tolist() == [0] * 5 + [1] * 5, "held out motions are not among them"
    centres = [found.vectors[found.classes == word].mean(0) for word in (0, 1)]
    apart = np.linalg.norm(found.vectors[:, None] - np.stack(centres), axis=2)
    assert (apart.argmin(1) == found.classes).all()
    with pytest.raises(UserError, match="no training example has a motion"):
        signing.partners(rows.assign(split="test"), WORDS, seed=0)
