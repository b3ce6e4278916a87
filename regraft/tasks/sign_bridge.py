"""The bridge from spoken words to signs: attention over remembered signs.

The query is a spoken word's embedding, the keys are the rows of the head on the audio encoder, the
values are memories of the motion autoencoder, one per word:

    memory = softmax(sharpness * standardised scores(word)) . values

`training.sign_bridge` fits it.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from regraft.backbones.motion_autoencoder import MotionAutoencoder

SHARPNESS = 5.0
"""Per standard deviation of a word's scores: the best word leads by one or more, so it decides."""


class SignBridge(nn.Module):
    """Scores of words to memories, and the autoencoder whose decoder makes signs of them.

    `values` (words, tokens, width) are the memories of the words.
    """

    def __init__(self, autoencoder: MotionAutoencoder, values: torch.Tensor) -> None:
        super().__init__()
        self.autoencoder = autoencoder
        self.values = nn.Parameter(values)

    def memory(self, scores: torch.Tensor) -> torch.Tensor:
        """Scores (n, words) to memories (n, tokens, width)."""
        spread = scores.std(1, keepdim=True).clamp(min=1e-6)
        attention = (SHARPNESS * scores / spread).softmax(1)
        return torch.einsum("nw,wtd->ntd", attention, self.values)

    @torch.inference_mode()
    def signs(self, scores: np.ndarray) -> list[np.ndarray]:
        """The sign (frames, SIGN_DIM) of each spoken word, from its scores (n, words)."""
        return self.autoencoder.generate(self.memory(torch.from_numpy(scores).float()))
