"""A motion encoder and decoder learn from signs without any label: denoising and masking.

Source: masked auto-encoding (He et al., CVPR 2022) with noise (Vincent et al., ICML 2008) on
sequences of poses: a stretch of moments is hidden, the rest is noisy, turned, scaled and warped in
time, and the whole sign is wanted back.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from regraft.backbones.motion_autoencoder import PHASES, MotionAutoencoder, at_phases
from regraft.data.skeleton import HAND_BONES, HAND_JOINTS
from regraft.progress import track

_NOISE = 0.1
_TURN = 0.15
_SCALE = 0.05
_WARP = 0.25
_LENGTH_WEIGHT = 0.3
_BONE_WEIGHT = 0.5


def pretrain_motion(
    signs: Sequence[np.ndarray],
    *,
    steps: int = 600,
    batch: int = 24,
    learning_rate: float = 2e-3,
    seed: int = 0,
) -> MotionAutoencoder:
    """An autoencoder that restores these signs (frames, SIGN_DIM), in eval mode."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    everything = at_phases(signs)
    frames = torch.tensor([float(len(sign)) for sign in signs])
    autoencoder = MotionAutoencoder()
    autoencoder.mean.copy_(everything.mean(0))
    groups = [{"params": list(autoencoder.parameters()), "lr": learning_rate}]
    optimiser, schedule = schedule_of(groups, steps)
    for _ in track(range(steps), "motion pre-training", total=steps):
        chosen = torch.from_numpy(rng.integers(len(signs), size=batch))
        wanted = varied(everything[chosen], rng)
        noisy = wanted + _NOISE * torch.from_numpy(rng.normal(size=wanted.shape)).float()
        memory = autoencoder.encode(noisy, _hidden(batch, rng))
        found = autoencoder.decode(memory), autoencoder.frames(memory)
        take_step(motion_loss(*found, wanted, frames[chosen]), optimiser, schedule)
    return autoencoder.eval()


def motion_loss(
    found: torch.Tensor, found_frames: torch.Tensor, wanted: torch.Tensor, frames: torch.Tensor
) -> torch.Tensor:
    """Distances of joints, of their velocities, absolute errors of bone lengths and of the log of
    the number of frames: `found` and `found_frames` against `wanted` (n, PHASES, SIGN_DIM) and
    `frames` (n,)."""
    joints = _distance(found, wanted)
    speed = _distance(found.diff(dim=1), wanted.diff(dim=1))
    bones = (_bones(found) - _bones(wanted)).abs().mean()
    length = (found_frames.log() - frames.log()).abs().mean()
    return joints + speed + _BONE_WEIGHT * bones + _LENGTH_WEIGHT * length


def _distance(found: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    apart = (found - wanted).unflatten(2, (HAND_JOINTS + 1, 3))
    return torch.linalg.vector_norm(apart + 1e-8, dim=-1).mean()


def schedule_of(
    groups: list[dict[str, Any]], steps: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """AdamW with a one-cycle rate, of each group up to its `lr`."""
    optimiser = torch.optim.AdamW(groups, weight_decay=0.01)
    highest = [group["lr"] for group in groups]
    return optimiser, torch.optim.lr_scheduler.OneCycleLR(optimiser, highest, total_steps=steps)


def take_step(
    loss: torch.Tensor,
    optimiser: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
) -> None:
    """One clipped step downhill."""
    optimiser.zero_grad()
    loss.backward()
    for group in optimiser.param_groups:
        nn.utils.clip_grad_norm_(group["params"], 1.0)
    optimiser.step()
    schedule.step()


def varied(signs: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """The signs (n, PHASES, SIGN_DIM) with hands turned and scaled a little, and time warped."""
    n = len(signs)
    warp = np.linspace(0, 1, PHASES)[None] ** np.exp(rng.uniform(-_WARP, _WARP, (n, 1)))
    at = torch.from_numpy(warp * (PHASES - 1)).float()
    low = at.long().clamp(max=PHASES - 2)
    share = (at - low)[..., None]
    rows = torch.arange(n)[:, None]
    signs = signs[rows, low] * (1 - share) + signs[rows, low + 1] * share
    turn = torch.linalg.matrix_exp(_skew(torch.from_numpy(rng.normal(0, _TURN, (n, 3))).float()))
    scale = torch.from_numpy(np.exp(rng.normal(0, _SCALE, (n, 1, 1)))).float()
    joints = signs.unflatten(2, (HAND_JOINTS + 1, 3))
    hand = torch.einsum("npjc,nac->npja", joints[:, :, :HAND_JOINTS], turn * scale)
    return torch.cat([hand, joints[:, :, HAND_JOINTS:]], 2).flatten(2)


def _skew(axes: torch.Tensor) -> torch.Tensor:
    x, y, z = axes.unbind(1)
    zero = torch.zeros_like(x)
    rows = [zero, -z, y, z, zero, -x, -y, x, zero]
    return torch.stack(rows, 1).unflatten(1, (3, 3))


def _hidden(n: int, rng: np.random.Generator) -> torch.Tensor:
    """One stretch of up to half of the moments per sign, (n, PHASES)."""
    start = rng.integers(0, PHASES, (n, 1))
    length = rng.integers(1, PHASES // 2, (n, 1))
    moments = np.arange(PHASES)[None]
    return torch.from_numpy((moments >= start) & (moments < start + length))


def _bones(signs: torch.Tensor) -> torch.Tensor:
    joints = signs.unflatten(2, (HAND_JOINTS + 1, 3))
    ends = torch.tensor(HAND_BONES)
    apart = joints[:, :, ends[:, 0]] - joints[:, :, ends[:, 1]]
    return torch.linalg.vector_norm(apart + 1e-8, dim=-1)
