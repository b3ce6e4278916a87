"""A pre-trained encoder of speech behind the interface of all encoders: waveforms in, blocks that
are frozen and trained one by one, one embedding out.

The embedding of a word joins, for the last few blocks, the mean, the largest value and the standard
deviation over time of every channel ("statistics pooling", Snyder et al., "X-Vectors", ICASSP
2018), so it does not depend on where in the recording the word is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

from regraft.backbones.audio_networks import (
    WINDOW_SAMPLES,
    TransformersAudio,
    audio_blocks,
    load_network,
    network_of,
)
from regraft.backbones.blockwise import BlockwiseEncoder
from regraft.backbones.families.speech_embedding import SpeechEmbedding
from regraft.progress import track

_BATCH = 32
_LEAST_VARIANCE = 1e-10


@dataclass(frozen=True)
class AudioSpec:
    """Everything that is needed to build one encoder of speech again, without its weights.

    Attributes
    ----------
    architecture : the name that was asked for.
    config : keyword arguments of `SpeechEmbedding`, or a configuration of transformers with its
        `model_type`.
    taps : blocks, counted from the last, whose statistics are the embedding.
    pretrained : where the weights came from: `starter`, `hub`, `random` or a file or folder.
    """

    architecture: str
    config: dict[str, Any] = field(default_factory=dict)
    taps: int = 4
    pretrained: str = ""
    kind: ClassVar[str] = "audio"

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind, **asdict(self)}

    @staticmethod
    def from_json(values: dict[str, Any]) -> AudioSpec:
        return AudioSpec(**{name: v for name, v in values.items() if name != "kind"})


class AudioEncoder(BlockwiseEncoder):
    """Waveforms (n, samples) float32 in [-1, 1] at 16 kHz to unit-length embeddings (n, dim)."""

    mixes = False
    model: SpeechEmbedding | TransformersAudio

    def __init__(self, spec: AudioSpec, model: SpeechEmbedding | TransformersAudio) -> None:
        super().__init__()
        self.spec = spec
        self.model = model
        self.blocks = audio_blocks(model)
        last = len(self.blocks) - 1
        self.taps = list(range(max(last - max(spec.taps, 1) + 1, 0), last + 1))
        with torch.inference_mode():
            maps = self.eval().model.run(torch.zeros(1, WINDOW_SAMPLES), 0, last)
        self._dims = {index: 3 * self.model.over_time(maps[index]).shape[1] for index in self.taps}
        self.dim = sum(self._dims.values())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self._combine(self._statistics(self.model.run(x, 0, len(self.blocks) - 1)))

    embed = forward

    def maps(self, x: torch.Tensor) -> torch.Tensor:
        """What the last block makes of waveforms: (n, channels, time)."""
        last = len(self.blocks) - 1
        return self.model.over_time(self.model.run(x, 0, last)[last])

    # -- frozen trunk ---------------------------------------------------------------------------

    @torch.inference_mode()
    def trunk(self, x: torch.Tensor, end: int) -> tuple[torch.Tensor, torch.Tensor]:
        """What blocks 0..end compute: the activation, and the statistics of the taps up to there
        (n, sum of dims)."""
        found = self.model.run(x, 0, end)
        parts = self._statistics(found)
        none = x.new_zeros(len(x), 0)
        return found[end], torch.cat([parts[i] for i in self.taps if i in parts] or [none], 1)

    def from_trunk(self, activation: torch.Tensor, taps: torch.Tensor, end: int) -> torch.Tensor:
        """The embedding (n, dim) from what `trunk` returned."""
        inside = [index for index in self.taps if index <= end]
        cached = dict(zip(inside, taps.split([self._dims[i] for i in inside], 1), strict=True))
        rest = self.model.run(activation, end + 1, len(self.blocks) - 1)
        return self._combine(cached | self._statistics(rest))

    # -- the rest of the interface --------------------------------------------------------------

    @property
    def input_size(self) -> int:
        """Samples that are read."""
        return WINDOW_SAMPLES

    @property
    def input_shape(self) -> tuple[int, ...]:
        return (WINDOW_SAMPLES,)

    def takes_image_size(self, size: int) -> bool:
        """A sound has no size in pixels."""
        return False

    def blank(self) -> AudioEncoder:
        """Another encoder of this spec, randomly initialised."""
        return AudioEncoder(self.spec, network_of(self.spec.config))

    # -- helpers --------------------------------------------------------------------------------

    def _statistics(self, outputs: dict[int, torch.Tensor]) -> dict[int, torch.Tensor]:
        """Of the taps among these outputs: (n, 3 * channels)."""
        return {
            index: _statistics(self.model.over_time(outputs[index]))
            for index in self.taps
            if index in outputs
        }

    def _combine(self, parts: dict[int, torch.Tensor]) -> torch.Tensor:
        joined = torch.cat([parts[index] for index in self.taps], 1)
        return nn.functional.normalize(joined, dim=1)


def load_audio_encoder(name: str, *, weights: str = "", taps: int = 4) -> AudioEncoder:
    """The encoder of this name, in eval mode: `starter` (embedded), `speech_embedding` with its
    weight file (or `random`), or the name or folder of a transformers model that reads waveforms,
    or of Whisper.

    Raises UserError where the weights are missing or fit another network.
    """
    network, config, origin = load_network(name, weights)
    return AudioEncoder(AudioSpec(name, config, taps, origin), network).eval()


def blank_audio(spec: dict[str, Any]) -> AudioEncoder:
    """An encoder of this spec (as JSON), randomly initialised."""
    found = AudioSpec.from_json(spec)
    return AudioEncoder(found, network_of(found.config))


@torch.inference_mode()
def embed_words(encoder: AudioEncoder, words: Sequence[np.ndarray]) -> np.ndarray:
    """Embeddings (n, dim) of recordings (samples,) at 16 kHz."""
    encoder.eval()
    found = [np.zeros((0, encoder.dim), np.float32)]
    starts = range(0, len(words), _BATCH)
    for start in track(starts, "speech features", total=len(starts)):
        x = waveforms(words[start : start + _BATCH]).to(encoder.device)
        found.append(encoder(x).float().cpu().numpy())
    return np.concatenate(found)


def waveforms(words: Sequence[np.ndarray]) -> torch.Tensor:
    """What the encoder reads of recordings (samples,) at 16 kHz: (n, WINDOW_SAMPLES)."""
    return torch.from_numpy(np.stack([windowed(word) for word in words]))


def windowed(word: np.ndarray, loudness: float = 0.08) -> np.ndarray:
    """The word in the middle of a window of silence, of a longer recording its loudest stretch, at
    a root mean square of `loudness`."""
    word = _loudest(word)
    level = float(np.sqrt(np.mean(word**2)))
    window = np.zeros(WINDOW_SAMPLES, np.float32)
    start = (WINDOW_SAMPLES - len(word)) // 2
    window[start : start + len(word)] = word * (loudness / max(level, 1e-6))
    return window


def _loudest(word: np.ndarray) -> np.ndarray:
    """The WINDOW_SAMPLES samples with the most energy."""
    if len(word) <= WINDOW_SAMPLES:
        return word
    energy = np.concatenate([[0.0], np.cumsum(word.astype(np.float64) ** 2)])
    start = int((energy[WINDOW_SAMPLES:] - energy[:-WINDOW_SAMPLES]).argmax())
    return word[start : start + WINDOW_SAMPLES]


def _statistics(maps: torch.Tensor) -> torch.Tensor:
    """(n, channels, time) to (n, 3 * channels): signed square root, unit length. Neither root has
    an endless slope at 0, which training could not bear."""
    deviation = maps.var(2, correction=0).clamp(min=_LEAST_VARIANCE).sqrt()
    pooled = torch.cat([maps.mean(2), maps.amax(2), deviation], 1).float()
    return nn.functional.normalize(pooled / (pooled.abs() + 1e-4).sqrt(), dim=1)
