"""Spoken and signed numbers, generated: the embedded default of speech to sign.

`python -m regraft.data.examples.speech_sign FOLDER` writes `speech/` (every number once by each of
32 synthetic voices) and `sign/` (once by each of 8 generated signers), each with an index.jsonl.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
import wave
from pathlib import Path

import numpy as np

from regraft.data.examples.number_signs import FPS, SIGNERS, drawn_signer, number_sign
from regraft.data.examples.voices import drawn_voices, speak
from regraft.data.files import write_if_different
from regraft.errors import UserError

VOICES = 32
_SEED = 5
_NOISE = 1_000  # of 32,767


def generate_speech_sign(root: Path) -> int:
    """Write what is missing or differs; the number of files written.

    In a process of its own: what the synthesiser said before leaves its trace in what it says.
    """
    command = [sys.executable, "-m", __name__, str(root)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError("the spoken numbers could not be generated", got=done.stderr.strip()[-500:])
    return int(done.stdout)


def _written(root: Path) -> int:
    files = {**_speech(), **_signs()}
    return sum(write_if_different(root / name, content) for name, content in files.items())


def _speech() -> dict[str, bytes]:
    rng = np.random.default_rng(_SEED)
    files, index = {}, []
    for number, voice in enumerate(drawn_voices(VOICES, _SEED)):
        for label in map(str, range(10)):
            name = f"{label}_voice{number:02d}.wav"
            samples, rate = speak(label, voice)
            files[f"speech/wav/{name}"] = _wav(samples, rate, rng)
            index.append({"file": f"wav/{name}", "label": label, "speaker": f"voice{number:02d}"})
    return files | {"speech/index.jsonl": _lines(index)}


def _wav(samples: np.ndarray, rate: int, rng: np.random.Generator) -> bytes:
    """16-bit PCM at half the rate, with noise; in whole numbers, which are the same everywhere."""
    whole = np.round(samples * 32_767).astype(np.int64)
    whole = whole[: len(whole) // 2 * 2].reshape(-1, 2).sum(1) // 2
    whole = whole + rng.integers(-_NOISE, _NOISE + 1, len(whole))
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate // 2)
        file.writeframes(np.clip(whole, -32_768, 32_767).astype("<i2").tobytes())
    return buffer.getvalue()


def _signs() -> dict[str, bytes]:
    rng = np.random.default_rng(_SEED)
    files, index = {}, []
    for number in range(SIGNERS):
        signer = drawn_signer(rng)
        for label in map(str, range(10)):
            name = f"{label}_signer{number}.npz"
            buffer = io.BytesIO()
            joints = number_sign(label, signer, rng).astype(np.float32)
            np.savez(buffer, joints=joints, fps=np.float32(FPS))
            files[f"sign/{name}"] = buffer.getvalue()
            row = {"file": name, "label": label, "source": "generated", "signer": f"signer{number}"}
            index.append(row)
    return files | {"sign/index.jsonl": _lines(index)}


def _lines(rows: list[dict[str, str]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


if __name__ == "__main__":
    print(_written(Path(sys.argv[1])))
