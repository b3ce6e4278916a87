"""What `regraft predict` writes of a model that signs: one motion file per recording."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from regraft.cli.main import cli
from regraft.cli.motions import motion_files


def test_recordings_that_are_called_alike_keep_their_own_motions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = ["ann/one.wav", "bob/ONE.wav", "bob/silent.wav", "ann/one.wav"]
    motions: list[bytes | None] = [b"ann", b"bob", None, b"again"]

    def answer(name: str, inputs: list[str], *, test_time: str) -> list[dict[str, object]]:
        made = [motion and base64.b64encode(motion).decode() for motion in motions]
        return [{"label": "1", "confidence": 1.0, "motion": motion} for motion in made]

    monkeypatch.setattr("regraft.serving.predict.predict", answer)
    folder = tmp_path / "motions"
    result = CliRunner().invoke(cli, ["predict", "m", *inputs, "--json", "--motions", str(folder)])
    assert result.exit_code == 0, result.output
    files = [found["motion"] for found in json.loads(result.output)]
    kept = [None if file is None else Path(file).read_bytes() for file in files]
    assert kept == motions


def test_a_number_that_is_itself_a_name_is_not_given_twice() -> None:
    names = [path.stem for path in motion_files(["a.wav", "b/a.wav", "a-2.wav"], Path())]
    assert names == ["a", "a-2", "a-2-2"]
    long = motion_files(["x" * 200 + "1.wav", "x" * 200 + "2.wav"], Path())
    assert len(set(long)) == 2


def test_answers_without_motions_write_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "regraft.serving.predict.predict",
        lambda name, inputs, test_time: [{"label": "leaf", "confidence": 1.0}],
    )
    result = CliRunner().invoke(cli, ["predict", "m", "x.jpg", "--motions", str(tmp_path / "no")])
    assert result.exit_code == 0 and not (tmp_path / "no").exists()
