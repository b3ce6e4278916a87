"""The spoken words of the bench: recordings of people, and a synthesiser's, as features."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from regraft.data.audio import open_audio, resampled
from regraft.data.files import write_arrays
from regraft.errors import UserError

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_VOICES = 60
_SECOND = 16_000


@dataclass(frozen=True)
class Recordings:
    """Words that people said: paths, the number of the word (n,) and the speaker (n,)."""

    paths: list[Path]
    words: np.ndarray
    speakers: np.ndarray

    @cached_property
    def samples(self) -> list[np.ndarray]:
        """Every recording (samples,) at 16 kHz."""
        return [open_audio(path) for path in self.paths]

    def drawn(self, per_word: int, *, without: str, seed: int) -> np.ndarray:
        """Row numbers of `per_word` recordings of each word, none by the speaker `without`.

        Raises UserError where a word has fewer.
        """
        rng = np.random.default_rng(seed)
        rows = []
        for word in np.unique(self.words):
            pool = np.flatnonzero((self.words == word) & (self.speakers != without))
            if len(pool) < per_word:
                raise UserError(
                    "too few recordings of a word",
                    got=f"{len(pool)} of '{WORDS[word]}' without {without}",
                    expected=f"{per_word}",
                )
            rows.append(rng.choice(pool, per_word, replace=False))
        return np.concatenate(rows)


def listed(folder: Path) -> Recordings:
    """The recordings that `folder/index.jsonl` lists: file, label ("0" to "9"), speaker.

    Raises UserError where there is no such list.
    """
    index = folder / "index.jsonl"
    if not index.is_file():
        raise UserError(
            "the recordings of the bench are not here",
            where=str(folder),
            expected="index.jsonl with file, label and speaker per line",
            fix="name the folder of the pack speech_sign with --data",
        )
    rows = [json.loads(line) for line in index.read_text().splitlines()]
    return Recordings(
        [folder / row["file"] for row in rows],
        np.array([int(row["label"]) for row in rows]),
        np.array([row["speaker"] for row in rows]),
    )


def synthesised(seed: int, voices: int = _VOICES) -> tuple[list[np.ndarray], np.ndarray, Any]:
    """Every word in many synthetic voices, each degraded once: samples at 16 kHz, words, voices."""
    from regraft.data.audio_views import degraded
    from regraft.data.examples.voices import drawn_voices, speak

    rng = np.random.default_rng(seed)
    found = []
    for voice in drawn_voices(voices, seed):
        for word in WORDS:
            samples, rate = speak(word, voice)
            found.append(degraded(resampled(samples, rate, 16_000), rng))
    words = np.tile(np.arange(len(WORDS)), voices)
    return found, words, np.repeat([f"voice {i}" for i in range(voices)], len(WORDS))


def kept_features(
    file: Path, encoder: Any, words: Sequence[np.ndarray]
) -> tuple[np.ndarray, float]:
    """Embeddings (n, dim) of the words and CPU seconds per word; kept in `file`."""
    from regraft.backbones.audio_encoder import embed_words

    def compute() -> dict[str, Any]:
        start = time.process_time()
        features = embed_words(encoder, words)
        return {"features": features, "seconds": (time.process_time() - start) / len(words)}

    found = _kept(file, compute)
    return found["features"], float(found["seconds"])


def kept_vectors(file: Path, encoder: Any, words: Sequence[np.ndarray]) -> np.ndarray:
    """The encoder's deepest map (n, channels * time) of the middle second of each word, as it is
    used today; kept in `file`."""
    import torch

    @torch.inference_mode()
    def compute() -> dict[str, Any]:
        seconds = [torch.from_numpy(_middle_second(word))[None] for word in words]
        found = [encoder.maps(second).flatten() for second in seconds]
        return {"vectors": torch.stack(found).numpy()}

    return np.asarray(_kept(file, compute)["vectors"])


def _kept(file: Path, compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The arrays in `file`, which are computed and written if it is not there."""
    if not file.is_file():
        write_arrays(file, **compute())
    with np.load(file) as kept:
        return dict(kept)


def _middle_second(word: np.ndarray) -> np.ndarray:
    """16,000 samples, silence around a shorter word."""
    start = max((len(word) - _SECOND) // 2, 0)
    cut = word[start : start + _SECOND]
    before = (_SECOND - len(cut)) // 2
    return np.pad(cut, (before, _SECOND - len(cut) - before)).astype(np.float32)
