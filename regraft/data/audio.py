"""The one place where sound files are opened: checked for validation, one channel for everyone.

WAV and FLAC (and what else libsndfile reads) of any rate, sample width and number of channels come
out as float32 in [-1, 1], one channel, at the rate that is asked for.
"""

from __future__ import annotations

import base64
import hashlib
import io
import struct
import wave
from math import gcd
from pathlib import Path
from typing import Any

import numpy as np

from regraft.data.rejection import RejectedError, told_to_user

DEFAULT_RATE = 16_000
DEFAULT_MIN_SECONDS = 0.1
DEFAULT_MAX_SECONDS = 60.0

_SILENCE = 10 ** (-60 / 20)  # root mean square of full scale
_CLIPPED = 0.999
_CLIPPED_SHARE = 0.001
_LOWEST_RATE = 4_000
_UNKNOWN_SIZE = 0x7FFF0000
"""What a program that writes to a pipe says of a length that it does not know yet, or more."""
_MAGIC = (b"RIFF", b"RIFX", b"RF64", b"fLaC", b"OggS", b"FORM")


def open_audio(
    source: str | Path | bytes,
    *,
    rate: int = DEFAULT_RATE,
    max_seconds: float = DEFAULT_MAX_SECONDS,
    min_seconds: float = DEFAULT_MIN_SECONDS,
) -> np.ndarray:
    """One channel (samples,) float32 in [-1, 1] at `rate` Hz, from a path or the bytes of a file.

    Channels are averaged; other rates are resampled with an anti-aliasing filter.

    Raises UserError for what is no recording, damaged, silent, shorter or longer than allowed (the
    length is judged from the header, before memory is used).
    """
    return open_described(source, rate=rate, max_seconds=max_seconds, min_seconds=min_seconds)[0]


def open_described(
    source: str | Path | bytes,
    *,
    rate: int = DEFAULT_RATE,
    max_seconds: float = DEFAULT_MAX_SECONDS,
    min_seconds: float = DEFAULT_MIN_SECONDS,
) -> tuple[np.ndarray, dict[str, float]]:
    """What `open_audio` returns, and the `statistics_of` the recording. Raises UserError as that
    does."""
    where = str(source) if isinstance(source, str | Path) else "the given recording"
    expected = f"an intact WAV or FLAC file of {min_seconds:g} to {max_seconds:g} seconds"
    with told_to_user("recording", where=where, expected=expected):
        data = source if isinstance(source, bytes) else Path(source).read_bytes()
        samples, own_rate, _ = _decode(data, max_seconds=max_seconds, min_seconds=min_seconds)
    return resampled(samples.mean(1), own_rate, rate), statistics_of(samples, own_rate)


def resampled(samples: np.ndarray, own_rate: int, rate: int) -> np.ndarray:
    """(n,) samples at `own_rate` Hz to float32 at `rate` Hz, by a polyphase filter."""
    from scipy.signal import resample_poly

    if own_rate == rate:
        return samples.astype(np.float32, copy=False)
    common = gcd(own_rate, rate)
    return np.asarray(resample_poly(samples, rate // common, own_rate // common), np.float32)


def inspect_audio(path: Path, *, max_seconds: float, min_seconds: float) -> dict[str, Any]:
    """Measure one recording (an `inspection.Inspector` once its limits are bound).

    Returns size (bytes), sha256, channels, what `statistics_of` says, mode (the stored sample
    format), quality_flags, perceptual_hash '' and reason ''. A rejected recording has a reason
    (empty_file, not_audio, corrupt, truncated, silent, too_short, too_long, not_finite), a detail,
    size and sha256 only.

    Raises OSError when the file itself cannot be read.
    """
    data = Path(path).read_bytes()
    facts = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    try:
        samples, rate, mode = _decode(data, max_seconds=max_seconds, min_seconds=min_seconds)
    except RejectedError as error:
        return facts | {"reason": error.reason, "detail": error.detail}
    return facts | describe_audio(samples, rate) | {"mode": mode, "reason": "", "detail": ""}


def describe_audio(samples: np.ndarray, rate: int) -> dict[str, Any]:
    """What `inspect_audio` says of the samples (n, channels)."""
    found = statistics_of(samples, rate)
    flags = {
        "clipping": found["clipped"] > _CLIPPED_SHARE,
        "converted_channels": samples.shape[1] > 1,
        "narrow_band": rate < DEFAULT_RATE,
    }
    return {
        **found,
        "channels": samples.shape[1],
        "perceptual_hash": "",
        "quality_flags": ",".join(name for name, is_so in flags.items() if is_so),
    }


def statistics_of(samples: np.ndarray, rate: int) -> dict[str, float]:
    """What samples (n, channels) sound like in a few numbers, for watching whether live ones still
    sound alike: seconds, sample_rate (Hz), loudness_db (root mean square of full scale), noise_db
    (the quietest tenth of the frames, from the loudness), centre_hz (mean frequency of the power),
    peak (0 to 1) and clipped (share of samples)."""
    mono = samples.mean(1).astype(np.float64)
    level = max(float(np.sqrt(np.mean(mono**2))), 1e-6)
    frame = max(rate // 100, 1)
    frames = mono[: len(mono) // frame * frame].reshape(-1, frame)
    quietest = float(np.sqrt(np.quantile((frames**2).mean(1), 0.1))) if len(frames) else level
    power = np.abs(np.fft.rfft(mono)) ** 2
    frequencies = np.fft.rfftfreq(len(mono), 1 / rate)
    return {
        "seconds": round(len(mono) / rate, 4),
        "sample_rate": float(rate),
        "loudness_db": round(float(20 * np.log10(level)), 1),
        "noise_db": round(float(20 * np.log10(max(quietest / level, 1e-5))), 1),
        "centre_hz": round(float((power @ frequencies) / max(power.sum(), 1e-12)), 1),
        "peak": round(float(np.abs(samples).max()), 4),
        "clipped": round(float((np.abs(samples) >= _CLIPPED).mean()), 4),
    }


def example_recording() -> str:
    """A fifth of a second of a tone as a WAV file in base64 text, to be sent to any server."""
    rate = 8_000
    tone = 128 + 100 * np.sin(2 * np.pi * 440 * np.arange(rate // 5) / rate)
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setparams((1, 1, rate, 0, "NONE", ""))
        file.writeframes(np.round(tone).astype(np.uint8).tobytes())
    return base64.b64encode(buffer.getvalue()).decode()


def _decode(data: bytes, *, max_seconds: float, min_seconds: float) -> tuple[np.ndarray, int, str]:
    """Samples (n, channels) float32, their rate in Hz and the stored format."""
    import soundfile

    if not data:
        raise RejectedError("empty_file", "there are no bytes")
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            _check_header(file, max_seconds=max_seconds, min_seconds=min_seconds)
            promised = file.frames
            samples = file.read(dtype="float32", always_2d=True)
            rate, mode = int(file.samplerate), str(file.subtype)
    except soundfile.LibsndfileError as error:
        raise _unreadable(data, error) from error
    if len(samples) < promised:
        raise RejectedError(
            "truncated", f"{len(samples):,} of {promised:,} samples could be decoded"
        )
    if missing := _missing_bytes(data):
        raise RejectedError("truncated", f"the last {missing:,} bytes of the samples are missing")
    _check_samples(samples)
    return samples, rate, mode


def _missing_bytes(data: bytes) -> int:
    """How many bytes of samples a WAV file promises and does not have; 0 for other formats.
    libsndfile reads what is left of a file that was cut off and does not say so."""
    at = 12 if data.startswith(b"RIFF") else len(data)
    while at + 8 <= len(data):
        name, size = struct.unpack_from("<4sI", data, at)
        if name == b"data":
            return 0 if size >= _UNKNOWN_SIZE else max(at + 8 + size - len(data), 0)
        at += 8 + size + size % 2
    return 0


def _check_header(file: Any, *, max_seconds: float, min_seconds: float) -> None:
    if file.samplerate < _LOWEST_RATE:
        raise RejectedError(
            "corrupt", f"a rate of {file.samplerate} Hz, speech needs {_LOWEST_RATE:,}"
        )
    seconds = file.frames / file.samplerate
    if seconds > max_seconds:
        raise RejectedError(
            "too_long", f"{seconds:,.1f} seconds, more than the {max_seconds:g} allowed"
        )
    if seconds < min_seconds:
        raise RejectedError(
            "too_short", f"{file.frames} samples, {seconds:.3f} of at least {min_seconds:g} seconds"
        )


def _check_samples(samples: np.ndarray) -> None:
    if not np.isfinite(samples).all():
        raise RejectedError("not_finite", "samples are NaN or infinite")
    moving = samples - samples.mean(0)  # a constant offset is no sound
    if float(np.sqrt(np.mean(moving**2))) < _SILENCE:
        raise RejectedError("silent", "quieter than -60 dB of full scale throughout")


def _unreadable(data: bytes, error: Exception) -> RejectedError:
    if data.startswith(_MAGIC):
        return RejectedError("corrupt", f"the header or the content is damaged: {error}")
    return RejectedError("not_audio", "the content is not a recording")
