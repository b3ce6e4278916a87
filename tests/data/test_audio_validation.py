"""Recordings through the whole validation: bad ones are named, no speaker is on two sides."""

from __future__ import annotations

import functools
import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile

from regraft.data.audio import inspect_audio
from regraft.data.validation import validate
from regraft.data.verdict import warnings


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], pd.DataFrame]:
    """What validation says of two words by six speakers, and three files nobody can use."""
    root = tmp_path_factory.mktemp("words")
    rng = np.random.default_rng(0)
    rows = []
    for speaker in range(6):
        for word in ("no", "yes"):
            for take in range(3):
                name = f"{word}_{speaker}_{take}.wav"
                soundfile.write(root / name, rng.normal(0, 0.1, 8_000), 16_000)
                rows.append({"path": name, "label": word, "group": f"speaker {speaker}"})
    bad = {"text.wav": b"no sound at all", "empty.wav": b""}
    for name, content in bad.items():
        (root / name).write_bytes(content)
    soundfile.write(root / "silent.wav", np.zeros(8_000), 16_000)
    rows += [{"path": n, "label": "no", "group": "speaker 0"} for n in (*bad, "silent.wav")]
    (root / "words.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    quality = validate(
        root / "words.jsonl",
        root / "out",
        inspect=functools.partial(inspect_audio, max_seconds=60, min_seconds=0.1),
        classes=[],
        source_domain="",
        target_domain="",
        target_labels_per_class=0,
        images_per_class=0,
        test_fraction=0.3,
        target_test_fraction=0.3,
        validation_fraction=0.2,
        min_per_class=2,
        max_imbalance=10,
        near_duplicate_distance=10,
        seed=0,
    )
    return quality, pd.read_parquet(root / "out" / "manifest.parquet")


def test_files_that_are_no_words_are_quarantined_with_their_reason(
    found: tuple[dict[str, Any], pd.DataFrame],
) -> None:
    quality, manifest = found
    assert quality["reasons"] == {"empty_file": 1, "not_audio": 1, "silent": 1}
    assert len(manifest) == quality["usable"] == 36
    failed = {check["meaning"] for check in quality["expectations"] if not check["success"]}
    assert {"not_audio", "silent", "the file has content"} <= failed


def test_no_speaker_is_on_two_sides(found: tuple[dict[str, Any], pd.DataFrame]) -> None:
    quality, manifest = found
    assert (manifest.groupby("group")["split"].nunique() == 1).all()
    assert {"train", "test"} <= set(manifest["split"])
    sides = [check for check in quality["expectations"] if check["column"] == "sides"]
    assert sides and all(check["success"] for check in sides)


@pytest.mark.parametrize(
    ("motions", "said"),
    [({"no": "no.npz"}, True), ({"no": "no.npz", "yes": "yes.npz"}, False), ({}, False)],
)
def test_a_word_that_alone_has_no_motion_is_told(
    motions: dict[str, str], said: bool, found: tuple[dict[str, Any], pd.DataFrame]
) -> None:
    manifest = found[1].assign(motion=found[1]["label"].map(motions).fillna(""))
    told = warnings(
        manifest, manifest, manifest["label"].value_counts(),
        left_out=[], images_per_class=0, max_imbalance=10, near_duplicates=0,
    )  # fmt: skip
    assert ("no motion for yes: recognised, never signed" in told) == said
