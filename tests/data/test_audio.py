"""Recordings of every form that people bring, and what is refused."""

from __future__ import annotations

import io
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile

from regraft.data.audio import inspect_audio, open_audio
from regraft.errors import UserError

inspect = partial(inspect_audio, max_seconds=60, min_seconds=0.1)


def tone(seconds: float = 0.5, rate: int = 16_000, hertz: float = 440) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate)


def wav(path: Path, samples: np.ndarray, rate: int = 16_000, **options: str) -> Path:
    soundfile.write(path, samples, rate, **options)
    return path


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
def test_every_sample_width_gives_the_same_sound(tmp_path: Path, subtype: str) -> None:
    read = open_audio(wav(tmp_path / "a.wav", tone(), subtype=subtype))
    assert read.dtype == np.float32
    np.testing.assert_allclose(read, tone(), atol=0.01)


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 48_000])
def test_every_rate_gives_the_same_sound(tmp_path: Path, rate: int) -> None:
    read = open_audio(wav(tmp_path / "a.wav", tone(rate=rate), rate))
    middle = slice(1_000, 7_000)  # the filter rings at the ends
    np.testing.assert_allclose(read[middle], tone()[middle], atol=0.01)


def test_resampling_filters_what_the_new_rate_cannot_hold(tmp_path: Path) -> None:
    read = open_audio(wav(tmp_path / "a.wav", tone(rate=48_000, hertz=15_000), 48_000))
    assert np.abs(read[1_000:7_000]).max() < 0.01  # it would come back as a tone of 1 kHz


def test_stereo_and_flac_and_bytes(tmp_path: Path) -> None:
    stereo = np.stack([tone(), np.zeros_like(tone())], 1)
    path = wav(tmp_path / "a.flac", stereo)
    np.testing.assert_allclose(open_audio(path), tone() / 2, atol=1e-3)
    np.testing.assert_array_equal(open_audio(path.read_bytes()), open_audio(path))
    assert inspect(path)["quality_flags"] == "converted_channels"


def bad_files() -> dict[str, bytes]:
    def encoded(samples: np.ndarray, **options: str) -> bytes:
        file = io.BytesIO()
        soundfile.write(file, samples, 16_000, format="WAV", **options)
        return file.getvalue()

    good = encoded(tone())
    return {
        "empty_file": b"",
        "not_audio": b"zero one two three four five six seven",
        "corrupt": good[:20] + b"\xff" * 16 + good[36:],
        "silent": encoded(np.zeros(8_000)),
        "too_short": encoded(np.array([0.5])),
        "too_long": encoded(np.zeros(61 * 16_000)),
        "not_finite": encoded(np.where(np.arange(8_000) == 7, np.nan, tone()), subtype="FLOAT"),
    }


@pytest.mark.parametrize("reason", bad_files())
def test_bad_recordings_are_refused_with_their_reason(tmp_path: Path, reason: str) -> None:
    path = tmp_path / "bad.wav"
    path.write_bytes(bad_files()[reason])
    assert inspect(path)["reason"] == reason
    with pytest.raises(UserError, match=reason):
        open_audio(path)


def test_a_constant_offset_is_silence(tmp_path: Path) -> None:
    assert inspect(wav(tmp_path / "a.wav", np.full(8_000, 0.3)))["reason"] == "silent"


def test_an_hour_is_refused_without_decoding_it(tmp_path: Path) -> None:
    hour = wav(tmp_path / "a.flac", np.zeros(3_600 * 4_000, np.float32), 4_000)
    assert "3,600.0 seconds" in inspect(hour)["detail"]


def test_a_truncated_flac_is_refused(tmp_path: Path) -> None:
    path = wav(tmp_path / "a.flac", np.random.default_rng(0).uniform(-1, 1, 32_000))
    path.write_bytes(path.read_bytes()[:20_000])
    assert inspect(path)["reason"] in ("truncated", "corrupt")


@pytest.mark.parametrize("kept", [0.5, 0.98])
def test_a_truncated_wav_is_refused_and_not_read_as_a_shorter_word(
    tmp_path: Path, kept: float
) -> None:
    path = wav(tmp_path / "a.wav", tone())
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole))])
    found = inspect(path)
    assert found["reason"] == "truncated"
    assert f"{len(whole) - int(kept * len(whole)):,} bytes" in found["detail"]


@pytest.mark.parametrize("size", [0x7FFFF000, 0xFFFFFFFF])
def test_a_wav_whose_writer_did_not_know_its_length_is_read(tmp_path: Path, size: int) -> None:
    whole = bytearray(wav(tmp_path / "a.wav", tone()).read_bytes())
    whole[4:8] = whole[40:44] = size.to_bytes(4, "little")
    assert whole[36:40] == b"data"
    np.testing.assert_allclose(open_audio(bytes(whole)), tone(), atol=1e-3)


def test_clipping_is_flagged_not_refused(tmp_path: Path) -> None:
    loud = inspect(wav(tmp_path / "a.wav", np.clip(3 * tone(), -1, 1)))
    assert (loud["reason"], loud["quality_flags"]) == ("", "clipping")
    assert inspect(wav(tmp_path / "b.wav", tone()))["quality_flags"] == ""


def test_a_folder_is_no_recording(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot read the recording"):
        open_audio(tmp_path)
