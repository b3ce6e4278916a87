"""The synthesiser speaks, and its words can be degraded as people's are."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from regraft.data.audio_views import degraded
from regraft.data.examples.voices import Voice, drawn_voices, speak
from regraft.errors import UserError

SPOKEN = """
import hashlib
from regraft.data.examples.voices import drawn_voices, speak

digest = hashlib.sha256()
for voice in drawn_voices(3, seed=0):
    digest.update(speak("seven", voice)[0].tobytes())
print(digest.hexdigest())
"""


def test_every_process_hears_the_same() -> None:
    heard = [
        subprocess.run(
            [sys.executable, "-c", SPOKEN], capture_output=True, text=True, check=True
        ).stdout
        for _ in range(2)
    ]
    assert len(heard[0]) > 60
    assert heard[0] == heard[1]


def test_words_differ() -> None:
    voice = Voice("en-us", "f2")
    seven, rate = speak("seven", voice)
    assert rate > 16_000 and 0.2 < len(seven) / rate < 1.2
    assert np.abs(seven).max() > 0.05
    assert abs(len(speak("two", voice)[0]) - len(seven)) > 1_000


def test_pitch_and_rate_are_heard() -> None:
    slow, _ = speak("seven", Voice("en-us", "m3", rate=100))
    fast, _ = speak("seven", Voice("en-us", "m3", rate=220))
    assert len(slow) > 1.5 * len(fast)


def test_every_drawn_voice_exists() -> None:
    voices = drawn_voices(66, seed=0)
    assert len({(voice.accent, voice.larynx) for voice in voices}) > 60
    for voice in voices:
        assert len(speak("one", voice)[0])


def test_an_unknown_voice_is_refused() -> None:
    with pytest.raises(UserError, match="no such voice"):
        speak("one", Voice("xx-nowhere", "m1"))


def test_views_differ_and_are_repeatable() -> None:
    word = speak("five", Voice("en-us", "m3"))[0]
    first, again, other = (degraded(word, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert len(other) != len(first)
    assert np.isfinite(first).all() and first.dtype == np.float32
