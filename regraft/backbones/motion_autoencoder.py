"""Signs as few memory tokens and back: the motion side, pre-trained on motion alone.

A sign is read at `PHASES` moments between its first and last frame. The encoder makes `TOKENS`
vectors of it, the memory. The decoder answers all moments at once from the memory
(non-autoregressive) and says how many frames they take. Frame by frame instead, with a counter as
in "Progressive Transformers" (Saunders et al., ECCV 2020), errors feed the next frame and motion
fades to the mean; words last a second, so one pass and a length are enough.

>>> autoencoder = MotionAutoencoder()
>>> memory = autoencoder.encode(torch.zeros(2, PHASES, SIGN_DIM))
>>> memory.shape, autoencoder.decode(memory).shape, autoencoder.frames(memory).shape
(torch.Size([2, 4, 64]), torch.Size([2, 32, 66]), torch.Size([2]))
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from regraft.backbones.blocks import Block
from regraft.backbones.blockwise import Blockwise
from regraft.data.skeleton import SIGN_DIM, resampled

PHASES = 32
TOKENS = 4
WIDTH = 64
LONGEST = 200

_TYPICAL_FRAMES = 30.0


class MotionAutoencoder(nn.Module):
    """A motion encoder, and the decoder that a bridge drives later.

    `mean` (PHASES, SIGN_DIM) is the mean of the signs it was pre-trained on: the decoder answers
    the difference from it.
    """

    mean: torch.Tensor
    phases: torch.Tensor

    def __init__(self, width: int = WIDTH, tokens: int = TOKENS, layers: int = 2) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(PHASES, SIGN_DIM))
        self.register_buffer("phases", _phases(width), persistent=False)
        self.enter = nn.Linear(SIGN_DIM, width)
        self.blank = nn.Parameter(torch.zeros(width))
        self.queries = nn.Parameter(0.02 * torch.randn(tokens, width))
        self.readers = nn.ModuleList(_Layer(width) for _ in range(layers))
        self.writers = nn.ModuleList(_Layer(width) for _ in range(layers))
        self.read_norm, self.write_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.leave = nn.Linear(width, SIGN_DIM)
        self.length = nn.Linear(width, 1)

    def encode(self, signs: torch.Tensor, hidden: torch.Tensor | None = None) -> torch.Tensor:
        """Signs (n, PHASES, SIGN_DIM) to memories (n, tokens, width). `hidden` (n, PHASES) marks
        moments that the encoder must not see."""
        x = self.enter(signs - self.mean)
        if hidden is not None:
            x = torch.where(hidden[..., None], self.blank, x)
        x = x + self.phases
        memory = self.queries.expand(len(signs), -1, -1)
        for layer in self.readers:
            memory = layer(memory, x)
        out: torch.Tensor = self.read_norm(memory)
        return out

    def decode(self, memory: torch.Tensor) -> torch.Tensor:
        """Memories (n, tokens, width) to signs (n, PHASES, SIGN_DIM)."""
        x = self.phases.expand(len(memory), -1, -1)
        for layer in self.writers:
            x = layer(x, memory)
        return self.mean + self.leave(self.write_norm(x))

    def frames(self, memory: torch.Tensor) -> torch.Tensor:
        """How many frames (n,) each memory takes, a real number from 2 to `LONGEST`."""
        logarithm = self.length(memory.mean(1))[:, 0]
        return (_TYPICAL_FRAMES * logarithm.exp()).clamp(2, LONGEST)

    @torch.inference_mode()
    def generate(self, memory: torch.Tensor) -> list[np.ndarray]:
        """The signs (frames, SIGN_DIM) of memories, each with its own number of frames."""
        self.eval()
        lengths = self.frames(memory).round().int().tolist()
        signs = self.decode(memory).numpy()
        return [resampled(sign, frames) for sign, frames in zip(signs, lengths, strict=True)]


class MotionDecoder(Blockwise):
    """The decoding part of an autoencoder, as plans see it: its layers, then what leaves them. The
    reading part belongs to no block."""

    def __init__(self, autoencoder: MotionAutoencoder) -> None:
        super().__init__()
        self.model = autoencoder
        layers = [(f"writers.{i}", (f"writers.{i}.",)) for i in range(len(autoencoder.writers))]
        parts = [*layers, ("", ("write_norm.", "leave.", "length."))]
        names = [name for name, _ in autoencoder.named_parameters()]
        self.blocks = [
            Block(index, tuple(name for name in names if name.startswith(own)), output)
            for index, (output, own) in enumerate(parts)
        ]


class _Layer(nn.Module):
    """Attention of `x` to itself and to `memory`, then a perceptron; norms first."""

    def __init__(self, width: int, heads: int = 4) -> None:
        super().__init__()
        self.itself = nn.MultiheadAttention(width, heads, batch_first=True)
        self.across = nn.MultiheadAttention(width, heads, batch_first=True)
        self.perceptron = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))

    def forward(self, x: torch.Tensor, memory: torch.Tensor) -> torch.Tensor:
        own = self.norms[0](x)
        x = x + self.itself(own, own, own, need_weights=False)[0]
        x = x + self.across(self.norms[1](x), memory, memory, need_weights=False)[0]
        out: torch.Tensor = x + self.perceptron(self.norms[2](x))
        return out


def at_phases(signs: Sequence[np.ndarray]) -> torch.Tensor:
    """Signs (frames, SIGN_DIM) as (n, PHASES, SIGN_DIM)."""
    stacked = np.stack([resampled(sign, PHASES) for sign in signs])
    return torch.from_numpy(stacked.astype(np.float32))


def _phases(width: int) -> torch.Tensor:
    """Each moment as sines and cosines of rising frequency, (PHASES, width)."""
    rates = math.pi * 2 ** torch.linspace(0, 4, width // 2)
    angles = torch.linspace(0, 1, PHASES)[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], 1)
