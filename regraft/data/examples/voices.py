"""Words spoken by a machine: the eSpeak NG engine, which the package espeakng-loader carries.

Formant synthesis (Klatt, JASA 67, 1980) sounds flat, but it needs no download, takes a
millisecond per word, and its accents, larynges, pitches and rates are labelled for free. The
engine is GPL-3.0; it is loaded where an optional package put it, and is not part of this project.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from regraft.errors import UserError

_SYNCHRONOUS, _UTF8 = 2, 1
_SEED = 1
_RATE, _PITCH, _RANGE = 1, 3, 4
_FULL_SCALE = 32768.0

ACCENTS = ("en-us", "en-gb-x-rp", "en-gb-scotland", "en-gb-x-gbclan", "en-029")
LARYNGES = ("m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8", "f1", "f2", "f3", "f4", "f5")


_kept_alive: list[Any] = []
"""The library calls what is in here; it must not be collected."""


@dataclass(frozen=True)
class Voice:
    """Who speaks: `accent` and `larynx` are eSpeak's names, `rate` is in words per minute, `pitch`
    and `pitch_range` are from 0 to 100."""

    accent: str
    larynx: str
    rate: int = 160
    pitch: int = 50
    pitch_range: int = 50


def drawn_voices(count: int, seed: int) -> list[Voice]:
    """`count` voices, accents and larynges in turn, rates and pitches at random."""
    rng = np.random.default_rng(seed)
    pairs = [(accent, larynx) for larynx in LARYNGES for accent in ACCENTS]
    order = rng.permutation(len(pairs))
    return [
        Voice(
            accent=pairs[order[i % len(pairs)]][0],
            larynx=pairs[order[i % len(pairs)]][1],
            rate=int(rng.integers(110, 230)),
            pitch=int(rng.integers(20, 80)),
            pitch_range=int(rng.integers(20, 80)),
        )
        for i in range(count)
    ]


def speak(text: str, voice: Voice) -> tuple[np.ndarray, int]:
    """The words as samples (n,) float32 in [-1, 1] and their rate in Hz.

    The same calls in the same order give the same samples in every process; what was said before
    leaves its trace in the engine's flutter, a few samples of length.

    Raises UserError where the engine is not installed or does not know the voice.
    """
    engine, rate, heard = _engine()
    if engine.espeak_SetVoiceByName(f"{voice.accent}+{voice.larynx}".encode()):
        raise UserError("the speech synthesiser has no such voice", got=str(voice))
    for number, value in ((_RATE, voice.rate), (_PITCH, voice.pitch), (_RANGE, voice.pitch_range)):
        engine.espeak_SetParameter(number, value, 0)
    engine.espeak_ng_SetRandSeed(ctypes.c_long(_SEED))
    heard.clear()
    data = text.encode()
    engine.espeak_Synth(data, len(data) + 1, 0, 0, 0, _UTF8, None, None)
    engine.espeak_Synchronize()
    return _trimmed(np.concatenate(heard).astype(np.float32) / _FULL_SCALE), rate


def _trimmed(samples: np.ndarray, threshold: float = 0.01) -> np.ndarray:
    """Without the silence at both ends."""
    loud = np.flatnonzero(np.abs(samples) > threshold * np.abs(samples).max())
    return samples[loud[0] : loud[-1] + 1]


@cache
def _engine() -> tuple[Any, int, list[np.ndarray]]:
    """The library, its sample rate, and the list that its callback appends to."""
    try:
        import espeakng_loader
    except ImportError as error:
        raise UserError(
            "the speech synthesiser is not installed",
            got=str(error),
            expected="the package espeakng-loader",
            fix="pip install 'regraft[sign]'",
        ) from error
    library = ctypes.CDLL(espeakng_loader.get_library_path())
    path = str(espeakng_loader.get_data_path()).encode()
    rate = library.espeak_Initialize(_SYNCHRONOUS, 0, path, 0)
    heard: list[np.ndarray] = []

    @ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)
    def listen(samples: Any, count: int, events: Any) -> int:
        if samples and count:
            heard.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

    library.espeak_SetSynthCallback(listen)
    _kept_alive.append(listen)
    return library, rate, heard
