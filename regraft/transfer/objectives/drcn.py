"""DRCN: the embeddings of the target keep enough of its inputs to rebuild them.

Source: Ghifary et al., "Deep Reconstruction-Classification Networks", ECCV 2016, equations 3 to 6:
a decoder shares the encoder with the classifier and rebuilds target examples,
L = mean |decoder(f(x)) - x|^2. Rebuilt is what the trainable part reads (images, or activations of
the frozen trunk), averaged to at most 14 x 14 positions and standardised per channel in the batch:
always guessing the mean costs 1.

>>> positions(torch.zeros(2, 3, 64, 64), (14, 14)).shape, positions(torch.zeros(2, 9, 5)).shape
(torch.Size([2, 3, 14, 14]), torch.Size([2, 5, 9, 1]))
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import adaptive_avg_pool2d

from regraft.errors import UserError
from regraft.transfer.objective import Objective
from regraft.transfer.objectives.domains import dims_of, target_of
from regraft.transfer.step import Start, Step

MOST_POSITIONS = 14
_WIDTH = 32


class Term(Objective):
    """Mean squared error of the rebuilt inputs, in units of their variance."""

    needs_unlabelled = True
    decoder: nn.Sequential

    def __init__(self, *, hidden: int = 256) -> None:
        super().__init__()
        self.hidden = hidden

    def begin(self, start: Start) -> None:
        dim, _ = dims_of(start)
        self.channels, *self.grid = positions(start.example[0]).shape[1:]
        self.input_scale = dim**0.5  # unit length to coordinates of order 1
        self.decoder = _decoder(dim, self.hidden, self.channels, *self.grid)

    def forward(self, step: Step) -> torch.Tensor:
        """The error on a batch of the target domain.

        Raises
        ------
        UserError
            A later stage reads other inputs (images after activations) than the first.
        """
        batch = target_of(step)
        wanted = positions(batch.inputs[0].detach().float(), self.grid)
        if wanted.shape[1] != self.channels:
            raise UserError(
                "reconstruction needs inputs of one kind in all stages",
                where="finetune.objectives: drcn",
                got=f"{wanted.shape[1]} channels after {self.channels}",
                fix="let the plan train the same first block in every stage, or drop drcn",
            )
        rebuilt = self.decoder(batch.embeddings * self.input_scale)
        return (rebuilt - _standardised(wanted)).square().mean()


def positions(x: torch.Tensor, grid: list[int] | tuple[int, int] | None = None) -> torch.Tensor:
    """Maps (n, c, h, w), tokens (n, t, c) or vectors (n, c) as maps (n, c, *grid); the grid is
    their own, up to 14 x 14, if None."""
    tokens = x.unsqueeze(1) if x.ndim == 2 else x
    maps = x if x.ndim == 4 else tokens.transpose(1, 2).unsqueeze(3)
    height, width = grid or [min(side, MOST_POSITIONS) for side in maps.shape[2:]]
    return adaptive_avg_pool2d(maps, (height, width))


def _standardised(maps: torch.Tensor) -> torch.Tensor:
    """Mean 0 and variance 1 of each channel over the batch (0 where a channel is constant)."""
    variance, mean = torch.var_mean(maps, (0, 2, 3), correction=0, keepdim=True)
    return (maps - mean) * (variance + 1e-6).rsqrt()


def _decoder(dim: int, hidden: int, channels: int, height: int, width: int) -> nn.Sequential:
    """(n, dim) to (n, channels, height, width), by way of maps of half the side."""
    low = ((height + 1) // 2, (width + 1) // 2)
    return nn.Sequential(
        nn.Linear(dim, hidden),
        nn.ReLU(),
        nn.Linear(hidden, _WIDTH * low[0] * low[1]),
        nn.ReLU(),
        nn.Unflatten(1, (_WIDTH, *low)),
        nn.Upsample(size=(height, width)),
        nn.Conv2d(_WIDTH, 2 * _WIDTH, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(2 * _WIDTH, channels, 1),
    )
