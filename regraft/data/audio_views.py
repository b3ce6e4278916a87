"""Recordings as another throat, room and line would have given them: augmentation of waveforms."""

from __future__ import annotations

import numpy as np

from regraft.data.audio import resampled

_RATE, _NARROW = 16_000, 8_000
_SPEED = 1.22
_TILT = 0.5
_NOISE_DB = (8.0, 40.0)
_NARROW_SHARE = 0.7


def degraded(word: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Another view of a word (samples,) at 16 kHz, float32.

    It is played faster or slower by up to 22 % (pitch and formants move together, as between short
    and long vocal tracts), seven in ten go over a telephone line's 4 kHz, the spectrum is tilted,
    and white noise 8 to 40 dB below the word is added.
    """
    factor = np.exp(rng.uniform(-np.log(_SPEED), np.log(_SPEED)))
    samples = max(int(len(word) / factor), 2)
    word = np.interp(np.linspace(0, len(word) - 1, samples), np.arange(len(word)), word)
    if rng.random() < _NARROW_SHARE:
        word = resampled(resampled(word, _RATE, _NARROW), _NARROW, _RATE)
    word = np.convolve(word, [1.0, rng.uniform(-_TILT, _TILT)], "same")
    level = np.sqrt(np.mean(word**2)) * 10 ** (-rng.uniform(*_NOISE_DB) / 20)
    return np.asarray(word + rng.normal(0, level, len(word)), np.float32)
