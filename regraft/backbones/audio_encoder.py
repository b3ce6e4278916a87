"""A pre-trained encoder of speech behind one small interface: waveforms in, one embedding out.

The embedding of a word joins, for the last few layers, the mean, the largest value and the standard
deviation over time of every channel ("statistics pooling", Snyder et al., "X-Vectors", ICASSP
2018), so it does not depend on where in the recording the word is.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn

from regraft.backbones.families.speech_embedding import SpeechEmbedding
from regraft.errors import UserError
from regraft.progress import track

WINDOW_SAMPLES = 20_480
"""1.28 s: a word is centred in a window of one or more of these lengths."""

_TAPS = 4
_BATCH = 32


class AudioEncoder(nn.Module):
    """Waveforms (n, samples) float32 in [-1, 1] at 16 kHz to embeddings (n, dim).

    `network.taps(waveforms)` are maps (n, channels, time), the deepest last.
    """

    def __init__(self, network: nn.Module, taps: int = _TAPS) -> None:
        super().__init__()
        self.network = network
        self.n_taps = taps
        with torch.inference_mode():
            self.dim = self.eval()(torch.zeros(1, WINDOW_SAMPLES)).shape[1]

    def forward(self, waveforms: torch.Tensor) -> torch.Tensor:
        network = cast(Any, self.network)
        parts = [_statistics(tap) for tap in network.taps(waveforms)[-self.n_taps :]]
        return torch.cat(parts, 1)

    embed = forward


class TransformersAudio(nn.Module):
    """Any audio encoder of transformers that reads waveforms (wav2vec2, HuBERT, WavLM, ...)."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def taps(self, waveforms: torch.Tensor) -> list[torch.Tensor]:
        """The hidden states of all layers as (n, channels, time)."""
        mean = waveforms.mean(1, keepdim=True)
        spread = waveforms.std(1, keepdim=True) + 1e-7
        found = self.model((waveforms - mean) / spread, output_hidden_states=True)
        return [state.transpose(1, 2) for state in found.hidden_states]


def load_audio_encoder(name: str, weights: Path | None = None) -> AudioEncoder:
    """The encoder of this name, in eval mode: `speech_embedding` with its weight file, or the name
    or folder of a transformers model that reads waveforms.

    Raises UserError where the weights are missing or fit another network.
    """
    if name == "speech_embedding":
        return AudioEncoder(_speech_embedding(weights)).eval()
    return AudioEncoder(_transformers(name)).eval()


@torch.inference_mode()
def embed_words(encoder: AudioEncoder, words: Sequence[np.ndarray]) -> np.ndarray:
    """Embeddings (n, dim) of recordings (samples,) at 16 kHz, each evened in loudness and centred
    in its window."""
    found = np.zeros((len(words), encoder.dim), np.float32)
    windows = [windowed(word) for word in words]
    order = sorted(range(len(words)), key=lambda i: (len(windows[i]), i))
    batches = _batches(order, windows)
    for chosen in track(batches, "speech features", total=len(batches)):
        x = torch.from_numpy(np.stack([windows[i] for i in chosen]))
        found[chosen] = encoder(x).numpy()
    return found


def windowed(word: np.ndarray, loudness: float = 0.08) -> np.ndarray:
    """The word at a root mean square of `loudness`, in the middle of whole windows of silence."""
    level = float(np.sqrt(np.mean(word**2)))
    size = WINDOW_SAMPLES * -(-len(word) // WINDOW_SAMPLES)
    window = np.zeros(size, np.float32)
    start = (size - len(word)) // 2
    window[start : start + len(word)] = word * (loudness / max(level, 1e-6))
    return window


def _batches(order: Sequence[int], windows: Sequence[np.ndarray]) -> list[list[int]]:
    """Words of equal window length together, so that no answer depends on its neighbours."""
    batches: list[list[int]] = []
    for i in order:
        last = batches[-1] if batches else []
        if last and len(last) < _BATCH and len(windows[last[0]]) == len(windows[i]):
            last.append(i)
        else:
            batches.append([i])
    return batches


def _statistics(tap: torch.Tensor) -> torch.Tensor:
    """(n, channels, time) to (n, 3 * channels): signed square root, unit length."""
    pooled = torch.cat([tap.mean(2), tap.amax(2), tap.std(2)], 1)
    return nn.functional.normalize(pooled.sign() * pooled.abs().sqrt(), dim=1)


def _speech_embedding(weights: Path | None) -> SpeechEmbedding:
    if weights is None or not weights.is_file():
        raise UserError(
            "the weight file of the speech encoder is missing",
            where="weights",
            got=str(weights),
            expected="model.safetensors of speech_embedding",
        )
    network = SpeechEmbedding()
    try:
        network.load_state_dict(load_file(weights))
    except RuntimeError as error:
        raise UserError(
            "these are not the weights of speech_embedding",
            where=str(weights),
            got=str(error).splitlines()[-1].strip(),
        ) from error
    return network


def _transformers(name: str) -> TransformersAudio:
    from transformers import AutoConfig, AutoModel

    try:
        config = AutoConfig.from_pretrained(name)
        model = AutoModel.from_pretrained(name)
    except (OSError, ValueError) as error:
        raise UserError(
            "the audio encoder could not be loaded",
            where=name,
            got=str(error).splitlines()[0],
            expected="speech_embedding, a folder of a transformers audio model, or its hub name",
        ) from error
    if getattr(config, "conv_stride", None) is None:
        raise UserError(
            "this transformers model does not read waveforms",
            where=name,
            got=str(config.model_type),
            expected="a model such as wav2vec2, hubert or wavlm",
        )
    return TransformersAudio(model)
