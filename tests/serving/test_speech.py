"""Spoken words over real HTTP: the word and its sign come back, or why not."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
import soundfile

from regraft.data.motion import open_motion
from regraft.data.skeleton import JOINTS
from tests.tasks.spoken import as_bytes, saved_and_loaded, tone

from .servers import Running, World, running

WAV = {"content-type": "audio/wav"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    predictor = saved_and_loaded(tmp_path_factory.mktemp("model"))
    with running(world=World(model=lambda version: predictor)) as found:
        yield found


@pytest.fixture
def client(server: Running) -> Iterator[httpx.Client]:
    with server.client() as found:
        yield found


def an_hour() -> bytes:
    """A megabyte or so of FLAC: short enough to be read, too long to be decoded."""
    buffer = io.BytesIO()
    soundfile.write(buffer, np.resize(tone(rate=4_000), 3_600 * 4_000), 4_000, format="FLAC")
    return buffer.getvalue()


@pytest.mark.parametrize("how", ["body", "file", "json"])
def test_a_recording_gets_its_word_and_the_motion_of_it(
    client: httpx.Client, server: Running, how: str, tmp_path: Path
) -> None:
    data = as_bytes(tone())
    if how == "body":
        answer = client.post("/predict", content=data, headers=WAV).json()
    else:
        sent = (
            {"files": {"word": ("word.wav", data, "audio/wav")}}
            if how == "file"
            else {"json": {"inputs": [base64.b64encode(data).decode()]}}
        )
        (answer,) = client.post("/predict", **sent).json()["predictions"]
    assert answer["label"] == "yes" and answer["confidence"] > 0.5
    (tmp_path / "yes.npz").write_bytes(base64.b64decode(answer["motion"]))
    joints = open_motion(tmp_path / "yes.npz").joints
    assert joints.shape[1:] == (JOINTS, 3) and len(joints) >= 2
    assert server.log.records[-1].statistics["seconds"] == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("data", "code", "said"),
    [
        (as_bytes(np.zeros(8_000)), "silent", "quieter"),
        (as_bytes(tone()[:1]), "too_short", "1 samples"),
        (b"this is no sound", "not_audio", ""),
        (as_bytes(np.full(8_000, np.nan), subtype="FLOAT"), "not_finite", ""),
        (an_hour(), "too_long", "3,600"),
    ],
    ids=["silence", "one sample", "text", "NaN", "an hour"],
)
def test_what_is_no_word_is_refused_with_its_reason(
    client: httpx.Client, server: Running, data: bytes, code: str, said: str
) -> None:
    before = len(server.log.records)
    answer = client.post("/predict", content=data, headers=WAV)
    problem = answer.json()["error"]
    assert (answer.status_code, problem["code"]) == (400, code)
    assert said in problem["got"] and "WAV" in problem["expected"]
    assert len(server.log.records) == before


def test_an_hour_is_refused_without_being_decoded(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = an_hour()
    monkeypatch.setattr(soundfile.SoundFile, "read", lambda *_, **__: pytest.fail("it is decoded"))
    assert client.post("/predict", content=data, headers=WAV).status_code == 400


def test_an_hour_of_plain_samples_is_too_long_a_body(client: httpx.Client) -> None:
    data = as_bytes(np.resize(tone(rate=4_000), 3_600 * 4_000), 4_000, "PCM_U8")
    answer = client.post("/predict", content=data, headers=WAV)
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too_large")
