"""The live loop on spoken words: calm ones lead to nothing, noisy ones to a retraining."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml

from regraft.data.audio import open_audio
from regraft.data.examples.speech_sign import generate_speech_sign
from tests.e2e.support import Project

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]
WORDS, VOICES = range(5), range(24)
RECIPE = {
    "name": "tiny",
    "task": "speech_to_sign",
    "serve": "teacher",
    "features": {"views": 1, "taps": 4, "augmented_views": 0},
    "finetune": {"plan": {"kind": "head_only"}, "threads": 1},
    "distillation": {"enabled": False},
    "evaluation": {"latency_images": 4},
    "monitoring": {"permutations": 1000},
    "retraining": {"min_new_examples": 20},
}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Five words by 24 voices; what the other eight voices say is not in the table."""
    generate_speech_sign(tmp_path / "pack")
    made = Project(tmp_path, per_class=1)
    table = "path,label,speaker\n" + "".join(
        f"pack/speech/wav/{word}_voice{voice:02d}.wav,{word},voice{voice:02d}\n"
        for word in WORDS
        for voice in VOICES
    )
    (tmp_path / "words.csv").write_text(table)
    recipe = RECIPE | {"data": {"root": str(tmp_path / "words.csv")}}
    made.recipe.write_text(yaml.safe_dump(recipe))
    return made


def window(project: Project, name: str, noise: float) -> Path:
    """What the eight other voices say, in folders by word; noisy ones also over a telephone."""
    rng = np.random.default_rng(0)
    folder = project.folder / name
    for word in WORDS:
        (folder / str(word)).mkdir(parents=True)
        for voice in range(24, 32):
            file = f"{word}_voice{voice}.wav"
            rate = 8_000 if noise else 11_025
            sound = open_audio(project.folder / "pack/speech/wav" / file, rate=rate)
            sound = sound + noise * rng.normal(size=len(sound))
            soundfile.write(folder / str(word) / file, np.clip(sound, -1, 1), rate)
    return folder


def test_noise_on_another_line_is_seen_and_retrained_on(project: Project) -> None:
    assert project.run()["decision"]["outcome"] == "first"

    def monitor(folder: Path, *options: str) -> dict[str, object]:
        arguments = ("monitor", str(project.recipe), "--window", str(folder), *options)
        command = project.start(*arguments, "--out", str(project.folder / "check"), "--json")
        result = command.wait(1200)
        assert result.code == 0, result.text
        return dict(json.loads(result.output))

    calm = monitor(window(project, "calm", 0), "--no-retrain")
    assert not calm["drifted"], calm["reason"]
    told = monitor(window(project, "noisy", 0.1))
    assert told["retrained"], told
    assert [entry["triggered_by"] for entry in project.history()] == [
        "regraft run",
        "regraft monitor",
    ]
