"""Google's speech_embedding: a small convolutional encoder of speech, front end included.

Source: Lin et al., "Training Keyword Spotters with Limited and Synthesized Speech Data", ICASSP
2020 (arXiv 2002.01322); front end and folded weights as openWakeWord published them. Waveforms go
in, one vector of 96 numbers per 80 ms comes out. Parameter names are those of the published file.

>>> import torch
>>> network = speech_embedding()
>>> network(torch.zeros(1, 16000)).shape
torch.Size([1, 96])
>>> network.forward_features(torch.zeros(1, 16000)).shape
torch.Size([1, 96, 3, 1])
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from torch import nn

SAMPLE_RATE = 16_000
_FULL_SCALE = 32768.0  # the front end reads 16-bit numbers
_RANGE_DB = 80.0
_SLOPE = 0.2  # of leaky ReLU below 0
_WIDTHS = [1] * 3 + [2] * 4 + [3] * 4 + [4] * 8
"""Channels of convolutions 0 to 18, in those of the first."""
_POOLS = {2: (2, 2), 6: (1, 2), 10: (2, 2), 14: (1, 2), 18: (2, 2)}
_LAYERS = [range(1, 3), range(3, 7), range(7, 11), range(11, 15), range(15, 19)]
"""Convolutions of blocks 1 to 5, each of which ends in a pooling."""
_FFT, _FRAME, _MELS = 512, 400, 32
_LOWEST_HZ, _HIGHEST_HZ = 60.0, 3800.0

default_cfgs = generate_default_cfgs(
    {
        "speech_embedding": {
            "num_classes": 0,
            "input_size": (1, SAMPLE_RATE, 1),
            "first_conv": "conv0",
        }
    }
)


class FrontEnd(nn.Module):
    """Waveforms (n, samples) in [-1, 1] at 16 kHz to log-mel maps (n, 1, frames, 32), 10 ms apart.

    A constant of the network: three buffers, nothing to train. They begin as 25 ms under a Hann
    window and triangles on the mel scale from 60 to 3,800 Hz; published weights bring their own.
    """

    stft_real: torch.Tensor
    stft_imag: torch.Tensor
    mel_filters: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        waves = _windowed_waves()
        self.register_buffer("stft_real", torch.from_numpy(waves.real.astype(np.float32)))
        self.register_buffer("stft_imag", torch.from_numpy(waves.imag.astype(np.float32)))
        self.register_buffer("mel_filters", torch.from_numpy(_mel_triangles()))

    def forward(self, waveforms: torch.Tensor) -> torch.Tensor:
        frames = (waveforms * _FULL_SCALE).unfold(1, _FFT, 160)
        power = (frames @ self.stft_real.T) ** 2 + (frames @ self.stft_imag.T) ** 2
        decibel = 10 * torch.log10((power @ self.mel_filters).clamp(min=1e-10))
        loudest = decibel.amax((1, 2), keepdim=True)
        return (torch.maximum(decibel, loudest - _RANGE_DB) / 10 + 2)[:, None]


def _windowed_waves() -> np.ndarray:
    """The rows of a discrete Fourier transform under the window, complex (257, 512)."""
    window = np.zeros(_FFT)
    start = (_FFT - _FRAME) // 2
    window[start : start + _FRAME] = np.hanning(_FRAME + 1)[:-1]
    turns = np.outer(np.arange(_FFT // 2 + 1), np.arange(_FFT)) / _FFT
    return np.asarray(np.exp(-2j * np.pi * turns) * window)


def _mel_triangles() -> np.ndarray:
    """How much each frequency counts for each of the 32 bands, float32 (257, 32)."""
    low, high = (2595 * np.log10(1 + hertz / 700) for hertz in (_LOWEST_HZ, _HIGHEST_HZ))
    mels = np.linspace(low, high, _MELS + 2)
    left, centre, right = (700 * (10 ** (mels[i : i + _MELS] / 2595) - 1) for i in range(3))
    at = np.linspace(0, SAMPLE_RATE / 2, _FFT // 2 + 1)[:, None]
    rising, falling = (at - left) / (centre - left), (right - at) / (right - centre)
    triangles = np.maximum(np.minimum(rising, falling), 0)
    return (triangles * 2 / (right - left)).astype(np.float32)  # each of area 1


class SpeechEmbedding(nn.Module):
    """Waveforms (n, samples) in [-1, 1] at 16 kHz, at least 12,512 (76 frames, what
    one vector sees), to maps (n, 96, vectors, 1) and their mean over time (n, 96). `width` are the
    channels of the first convolution, a quarter of those of the last; with less than all `blocks`
    it ends behind a pooling.

    Raises ValueError for a classifier, which the published weights do not have.
    """

    def __init__(
        self,
        num_classes: int = 0,
        in_chans: int = 1,
        drop_rate: float = 0.0,
        width: int = 24,
        blocks: int = len(_LAYERS) + 2,
    ) -> None:
        if num_classes or in_chans != 1:
            raise ValueError(
                "this speech encoder has no classifier and reads one channel, "
                f"got num_classes={num_classes}, in_chans={in_chans}"
            )
        super().__init__()
        self.frontend = FrontEnd()
        widths = [width * times for times in _WIDTHS]
        self.num_features = widths[-1]
        self.conv0 = nn.Conv2d(1, width, 3, padding=(0, 1), bias=False)
        self.bn0 = nn.BatchNorm2d(width, eps=1e-3)
        for i in range(1, 19):
            along_width = i % 2 == 1
            kernel, padding = ((1, 3), (0, 1)) if along_width else ((3, 1), (0, 0))
            setattr(self, f"conv{i}", nn.Conv2d(widths[i - 1], widths[i], kernel, 1, padding))
        self.conv19 = nn.Conv2d(widths[-1], widths[-1], (3, 1), bias=False)
        self.dropout = nn.Dropout(drop_rate)
        for layer in self.modules():  # torch's own initial weights let a signal fade in 20 layers
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, a=_SLOPE)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
        self.shortened(blocks)

    def shortened(self, blocks: int) -> SpeechEmbedding:
        """The same network, in place, with its first `blocks` blocks alone."""
        self.last = blocks - 1
        for index in range(blocks, len(_LAYERS) + 2):
            for i in _LAYERS[index - 1] if index <= len(_LAYERS) else [19]:
                delattr(self, f"conv{i}")
        return self

    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        return self.forward_maps(self.frontend(x))

    def forward_maps(self, mel: torch.Tensor) -> torch.Tensor:
        """Log-mel maps (n, 1, frames, 32) to (n, 96, vectors, 1)."""
        return self.run(self._stem(mel), 1, self.last)[self.last]

    def run(self, x: torch.Tensor, start: int, end: int) -> dict[int, torch.Tensor]:
        """Outputs (n, channels, time, mel positions) of blocks start..end; `x` is waveforms, or
        what block `start` - 1 put out."""
        found = {}
        for index in range(start, end + 1):
            x = found[index] = self._block(x, index)
        return found

    def _block(self, x: torch.Tensor, index: int) -> torch.Tensor:
        if index == 0:
            return self._stem(self.frontend(x))
        if index > len(_LAYERS):
            last: torch.Tensor = self.conv19(x)
            return last
        for i in _LAYERS[index - 1]:
            x = _clipped(self.get_submodule(f"conv{i}")(x))
        return nn.functional.max_pool2d(x, _POOLS[i])

    def over_time(self, x: torch.Tensor) -> torch.Tensor:
        """The output of a block as (n, channels * mel positions, time)."""
        return x.transpose(2, 3).flatten(1, 2)

    def _stem(self, mel: torch.Tensor) -> torch.Tensor:
        return _clipped(self.bn0(self.conv0(mel).relu()))

    def forward_head(self, x: torch.Tensor, pre_logits: bool = True) -> torch.Tensor:
        """The mean over time; there is no classifier for `pre_logits` to leave out."""
        pooled: torch.Tensor = self.dropout(x.mean((2, 3)))
        return pooled

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.forward_head(self.forward_features(x))

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """The stem, what lies between two poolings, the last convolution."""
        parts = ["[12]", "[3-6]", "[7-9]|10", "1[1-4]", "1[5-8]", "19"]
        blocks = [(rf"^conv(?:{part})\.", (number,)) for number, part in enumerate(parts)]
        return {"stem": r"^(?:conv0|bn0)\.", "blocks": blocks}


def _clipped(x: torch.Tensor) -> torch.Tensor:
    return nn.functional.leaky_relu(x, _SLOPE).clamp(min=-0.4)


@register_model
def speech_embedding(pretrained: bool = False, **kwargs: Any) -> SpeechEmbedding:
    """The published encoder, 0.33 M parameters."""
    model: SpeechEmbedding = build_model_with_cfg(
        SpeechEmbedding, "speech_embedding", pretrained, **kwargs
    )
    return model
