"""Training views of recordings as a deterministic function of (seed, content, view number).

View 0 is the recording; view v > 0 sounds as from another throat, line and room (see
`data.audio_views`). See `image_views` for why views are functions.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
import torch

from regraft.backbones.audio_encoder import waveforms
from regraft.data.audio import open_audio
from regraft.data.audio_views import degraded


class AudioViews:
    """Views of a list of recordings; `augmentation` are the fields of the recipe's section."""

    def __init__(self, paths: list[str], augmentation: dict[str, Any], *, seed: int) -> None:
        self.words = [open_audio(path) for path in paths]
        self.contents = [hashlib.sha256(word.tobytes()).hexdigest() for word in self.words]
        self.augmented: bool = augmentation["speech"]
        self.seed = seed

    def __len__(self) -> int:
        return len(self.words)

    @property
    def fingerprint(self) -> str:
        """Digest of everything that the samples of a view depend on."""
        how = [self.contents, self.augmented, self.seed]
        return hashlib.sha256(json.dumps(how).encode()).hexdigest()

    def at_size(self, image_size: int) -> AudioViews:
        """A sound has no size in pixels; a plan that asks for one is refused before."""
        return self

    def word(self, index: int, view: int) -> np.ndarray:
        """One view (samples,) at 16 kHz."""
        if view == 0 or not self.augmented:
            return self.words[index]
        text = f"{self.seed}/{self.contents[index]}/{view}".encode()
        rng = np.random.default_rng(list(hashlib.sha256(text).digest()))
        return degraded(self.words[index], rng)

    def batch(self, indices: np.ndarray, views: np.ndarray) -> torch.Tensor:
        """float32 (n, samples of a window)."""
        return waveforms([self.word(int(i), int(v)) for i, v in zip(indices, views, strict=True)])
