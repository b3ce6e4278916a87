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
from regraft.tasks.sign_bridge import SignBridge
from regraft.training.motion_pretraining import motion_loss, schedule_of, take_step


def fit_bridge(
    autoencoder: MotionAutoencoder,
    signs: Sequence[np.ndarray],
    words: np.ndarray,
    *,
    pretrained: bool = True,
    steps: int = 200,
    batch: int = 24,
    learning_rate: float = 1e-3,
    seed: int = 0,
) -> SignBridge:
    """A bridge trained on these signs (frames, SIGN_DIM) of `words` (n,), numbers from 0.

    The autoencoder is copied. Without `pretrained` it must be untrained: the values begin at
    random and the mean is that of the pairs. The best memory of a word does not depend on who says
    it, so the steps need no audio; the words' scores come from the head.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    autoencoder, wanted = copy.deepcopy(autoencoder), at_phases(signs)
    frames = torch.tensor([float(len(sign)) for sign in signs])
    if not pretrained:
        autoencoder.mean.copy_(wanted.mean(0))
    bridge = SignBridge(autoencoder, _first_values(autoencoder, wanted, words, pretrained))
    if steps:
        optimiser, schedule = schedule_of(list(bridge.parameters()), learning_rate, steps)
    for _ in range(steps):
        chosen = rng.integers(len(signs), size=batch)
        memory = bridge.values[torch.from_numpy(words[chosen])]
        loss = motion_loss(autoencoder, memory, wanted[chosen], frames[chosen])
        take_step(loss, optimiser, schedule)
    return bridge.eval()


@torch.no_grad()
def _first_values(
    autoencoder: MotionAutoencoder, signs: torch.Tensor, words: np.ndarray, pretrained: bool
) -> torch.Tensor:
    memories = autoencoder.eval().encode(signs)
    if not pretrained:
        memories = 0.5 * torch.randn_like(memories)
    return torch.stack([memories[words == word].mean(0) for word in range(words.max() + 1)])
