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

import torch
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from torch import nn

SAMPLE_RATE = 16_000
_FULL_SCALE = 32768.0  # the front end reads 16-bit numbers
_RANGE_DB = 80.0
_WIDTHS = [24] * 3 + [48] * 4 + [72] * 4 + [96] * 8
_POOLS = {2: (2, 2), 6: (1, 2), 10: (2, 2), 14: (1, 2), 18: (2, 2)}

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

    A constant of the network: three buffers, nothing to train.
    """

    stft_real: torch.Tensor
    stft_imag: torch.Tensor
    mel_filters: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        for name, shape in (
            ("stft_real", (257, 512)),
            ("stft_imag", (257, 512)),
            ("mel_filters", (257, 32)),
        ):
            self.register_buffer(name, torch.zeros(shape))

    def forward(self, waveforms: torch.Tensor) -> torch.Tensor:
        frames = (waveforms * _FULL_SCALE).unfold(1, 512, 160)
        power = (frames @ self.stft_real.T) ** 2 + (frames @ self.stft_imag.T) ** 2
        decibel = 10 * torch.log10((power @ self.mel_filters).clamp(min=1e-10))
        loudest = decibel.amax((1, 2), keepdim=True)
        return (torch.maximum(decibel, loudest - _RANGE_DB) / 10 + 2)[:, None]


class SpeechEmbedding(nn.Module):
    """Waveforms (n, samples) in [-1, 1] at 16 kHz, at least 12,512 (76 frames, what
    one vector sees), to maps (n, 96, vectors, 1) and their mean over time (n, 96).

    Raises ValueError for a classifier, which the published weights do not have.
    """

    num_features = 96

    def __init__(self, num_classes: int = 0, in_chans: int = 1, drop_rate: float = 0.0) -> None:
        if num_classes or in_chans != 1:
            raise ValueError(
                "this speech encoder has no classifier and reads one channel, "
                f"got num_classes={num_classes}, in_chans={in_chans}"
            )
        super().__init__()
        self.frontend = FrontEnd()
        self.conv0 = nn.Conv2d(1, 24, 3, padding=(0, 1), bias=False)
        self.bn0 = nn.BatchNorm2d(24, eps=1e-3)
        for i in range(1, 19):
            along_width = i % 2 == 1
            kernel, padding = ((1, 3), (0, 1)) if along_width else ((3, 1), (0, 0))
            setattr(self, f"conv{i}", nn.Conv2d(_WIDTHS[i - 1], _WIDTHS[i], kernel, 1, padding))
        self.conv19 = nn.Conv2d(96, 96, (3, 1), bias=False)
        self.dropout = nn.Dropout(drop_rate)

    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        return self.forward_maps(self.frontend(x))

    def forward_maps(self, mel: torch.Tensor) -> torch.Tensor:
        """Log-mel maps (n, 1, frames, 32) to (n, 96, vectors, 1)."""
        return self._maps(mel)[-1]

    def taps(self, waveforms: torch.Tensor) -> list[torch.Tensor]:
        """After every pooling and at the end: (n, channels * mel positions, time)."""
        maps = self._maps(self.frontend(waveforms))
        return [found.transpose(2, 3).flatten(1, 2) for found in maps]

    def _maps(self, mel: torch.Tensor) -> list[torch.Tensor]:
        x = _clipped(self.bn0(self.conv0(mel).relu()))
        found = []
        for i in range(1, 19):
            x = _clipped(self.get_submodule(f"conv{i}")(x))
            if i in _POOLS:
                x = nn.functional.max_pool2d(x, _POOLS[i])
                found.append(x)
        return [*found, self.conv19(x)]

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
    return nn.functional.leaky_relu(x, 0.2).clamp(min=-0.4)


@register_model
def speech_embedding(pretrained: bool = False, **kwargs: Any) -> SpeechEmbedding:
    """The published encoder, 0.33 M parameters."""
    model: SpeechEmbedding = build_model_with_cfg(
        SpeechEmbedding, "speech_embedding", pretrained, **kwargs
    )
    return model
