"""The words of a task in synthetic voices: training examples that cost nobody's time.

Source: Lin et al., "Training Keyword Spotters with Limited and Synthesized Speech Data", ICASSP
2020. `python -m regraft.data.synthetic_words` is the process of its own that speaks: what the
synthesiser said before leaves its trace in what it says.
"""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from regraft.data.audio import DEFAULT_RATE, resampled
from regraft.data.files import write_if_different
from regraft.errors import UserError

_SEED = 0


def synthetic_words(words: Sequence[str], voices: int, store: Path) -> list[tuple[str, str, str]]:
    """(path, word, voice) of every word in so many voices, each degraded once (see
    `data.audio_views`); files are written to a folder of `store` that is named after both.

    Raises UserError where the synthesiser is not installed.
    """
    request = json.dumps([list(words), voices, _SEED])
    folder = store / hashlib.sha256(request.encode()).hexdigest()[:16]
    if not (folder / "done").is_file():
        command = [sys.executable, "-m", "regraft.data.synthetic_words", request, str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise UserError(
                "the words could not be synthesised",
                where="data.synthetic_voices",
                got=done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "",
                fix="pip install 'regraft[sign]', or set data.synthetic_voices=0",
            )
        write_if_different(folder / "done", b"")
    return [
        (str(folder / _name(number, voice)), word, f"synthetic voice {voice:03d}")
        for voice in range(voices)
        for number, word in enumerate(words)
    ]


def _name(number: int, voice: int) -> str:
    return f"{number:03d}_{voice:03d}.wav"


def _speak(request: str, folder: Path) -> None:
    import soundfile

    from regraft.data.audio_views import degraded
    from regraft.data.examples.voices import drawn_voices, speak

    words, voices, seed = json.loads(request)
    rng = np.random.default_rng(seed)
    for place, voice in enumerate(drawn_voices(voices, seed)):
        for number, word in enumerate(words):
            samples, rate = speak(word, voice)
            sound = degraded(resampled(samples, rate, DEFAULT_RATE), rng)
            sound = sound / max(float(np.abs(sound).max()), 1.0)
            buffer = io.BytesIO()
            soundfile.write(buffer, sound, DEFAULT_RATE, format="WAV", subtype="PCM_16")
            write_if_different(folder / _name(number, place), buffer.getvalue())


if __name__ == "__main__":
    _speak(sys.argv[1], Path(sys.argv[2]))
