"""The bridge from spoken words to signs, learned from few pairs (see `tasks.sign_bridge`).

Keys and values begin where no gradient was needed, in the manner of Tip-Adapter (Zhang et al., ECCV
2022): the values as the mean memory of the word's paired signs. Then the values and the decoder
are trained on the pairs.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import torch

from regraft.backbones.motion_autoencoder import MotionAutoencoder, at_phases
from regraft.data.alignment import in_step
from regraft.tasks.sign_bridge import SignBridge
from regraft.training.motion_pretraining import motion_loss, schedule_of, take_step


def fit_bridge(
    autoencoder: MotionAutoencoder,
    signs: Sequence[np.ndarray],
    words: np.ndarray,
    *,
    pretrained: bool = True,
    steps: int = 200,
    words_per_step: int = 24,
    learning_rate: float = 6e-3,
    seed: int = 0,
) -> SignBridge:
    """A bridge trained on these signs (frames, SIGN_DIM) of `words` (n,), numbers from 0.

    The signs of a word are brought in step first: what they do is wanted, and not the mean of
    moments at which they do different things. A step sees all signs of some words, so each is
    decoded once. The autoencoder is copied. Without `pretrained` it must be untrained: the values
    begin at random and the mean is that of the pairs. The best memory of a word does not depend on
    who says it, so the steps need no audio; the words' scores come from the head.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    autoencoder, wanted = copy.deepcopy(autoencoder), _in_step(at_phases(signs), words)
    frames = torch.tensor([float(len(sign)) for sign in signs])
    if not pretrained:
        autoencoder.mean.copy_(wanted.mean(0))
    bridge = SignBridge(autoencoder, _first_values(autoencoder, wanted, words, pretrained))
    if steps:
        optimiser, schedule = schedule_of(list(bridge.parameters()), learning_rate, steps)
    for _ in range(steps):
        drawn = torch.from_numpy(rng.permutation(len(bridge.values))[:words_per_step])
        place = torch.full((len(bridge.values),), -1)
        place[drawn] = torch.arange(len(drawn))
        row = place[torch.from_numpy(words)]  # of each sign among the words of this step
        memory, seen = bridge.values[drawn], row >= 0
        found = autoencoder.decode(memory)[row[seen]], autoencoder.frames(memory)[row[seen]]
        take_step(motion_loss(*found, wanted[seen], frames[seen]), optimiser, schedule)
    return bridge.eval()


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
