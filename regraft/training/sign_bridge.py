"""The bridge from spoken words to signs, learned from few pairs (see `tasks.sign_bridge`).

Keys and values begin where no gradient was needed, in the manner of Tip-Adapter (Zhang et al., ECCV
2022): the values as the mean memory of the word's paired signs. Then the values and the decoder
are trained on the pairs.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from regraft.backbones.motion_autoencoder import MotionAutoencoder, MotionDecoder, at_phases
from regraft.data.alignment import in_step
from regraft.errors import UserError
from regraft.tasks.sign_bridge import SignBridge
from regraft.training.motion_pretraining import motion_loss, schedule_of, take_step
from regraft.training.optimisation import Optimisation, freeze, groups_of
from regraft.transfer import plans

FULL = {"kind": "full", "epochs": 400}
_WORDS_PER_STEP = 24


def fit_bridge(
    autoencoder: MotionAutoencoder,
    signs: Sequence[np.ndarray],
    words: np.ndarray,
    *,
    pretrained: bool = True,
    plan: Mapping[str, Any] = FULL,
    learning_rate: float = 6e-3,
    seed: int = 0,
) -> SignBridge:
    """A bridge trained on these signs (frames, SIGN_DIM) of `words` (n,), numbers from 0.

    The signs of a word are brought in step first: what they do is wanted, and not the mean of
    moments at which they do different things. An epoch of the `plan` (`regraft.transfer.plans`)
    decodes each word once, for all of its signs; the values are its head. The autoencoder is
    copied. Without `pretrained` it must be untrained: the values begin at random and the mean is
    that of the pairs. The best memory of a word does not depend on who says it, so the steps need
    no audio; the words' scores come from the head of the audio side.

    Raises UserError for a plan of stages in several image sizes.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    autoencoder, wanted = copy.deepcopy(autoencoder), _in_step(at_phases(signs), words)
    frames = torch.tensor([float(len(sign)) for sign in signs])
    if not pretrained:
        autoencoder.mean.copy_(wanted.mean(0))
    bridge = SignBridge(autoencoder, _first_values(autoencoder, wanted, words, pretrained))
    model = _Model(bridge)
    plans.prepare(dict(plan), model, seed=seed)
    how = Optimisation(
        learning_rate=learning_rate, head_learning_rate=learning_rate, block_decay=1.0
    )
    for stage in plans.stages_of(dict(plan), len(model.encoder.blocks)):
        if stage.image_size:
            raise UserError(
                "motions have no image size",
                where="finetune.signing.plan.image_sizes",
                got=str(stage.image_size),
                expected="[]",
            )
        freeze(model, stage, how)
        parts = math.ceil(len(bridge.values) / _WORDS_PER_STEP)
        optimiser, schedule = schedule_of(
            groups_of(model, stage, how, nn.ModuleDict()), stage.epochs * parts
        )
        for _ in range(stage.epochs):
            for drawn in np.array_split(rng.permutation(len(bridge.values)), parts):
                loss = _loss(bridge, torch.from_numpy(drawn), words, wanted, frames)
                take_step(loss, optimiser, schedule)
    plans.finish(dict(plan), model)
    return bridge.eval()


class _Model(nn.Module):
    """The bridge as plans see a model: the decoder is the encoder, the values are the head."""

    def __init__(self, bridge: SignBridge) -> None:
        super().__init__()
        self.encoder = MotionDecoder(bridge.autoencoder)
        self.head = nn.ParameterList([bridge.values])


def _loss(
    bridge: SignBridge,
    drawn: torch.Tensor,
    words: np.ndarray,
    wanted: torch.Tensor,
    frames: torch.Tensor,
) -> torch.Tensor:
    """Of the `drawn` words, against all of their signs."""
    place = torch.full((len(bridge.values),), -1)
    place[drawn] = torch.arange(len(drawn))
    row = place[torch.from_numpy(words)]  # of each sign among the words of this step
    memory, seen = bridge.values[drawn], row >= 0
    autoencoder = bridge.autoencoder
    found = autoencoder.decode(memory)[row[seen]], autoencoder.frames(memory)[row[seen]]
    return motion_loss(*found, wanted[seen], frames[seen])


def _in_step(signs: torch.Tensor, words: np.ndarray) -> torch.Tensor:
    found = signs.clone()
    for word in np.unique(words):
        own = words == word
        found[own] = torch.from_numpy(in_step(signs[own].numpy())).float()
    return found


@torch.no_grad()
def _first_values(
    autoencoder: MotionAutoencoder, signs: torch.Tensor, words: np.ndarray, pretrained: bool
) -> torch.Tensor:
    memories = autoencoder.eval().encode(signs)
    if not pretrained:
        memories = 0.5 * torch.randn_like(memories)
    return torch.stack([memories[words == word].mean(0) for word in range(words.max() + 1)])
