"""Training views of texts as a deterministic function of (seed, text, view number).

View 0 is the text; view v > 0 has typing errors and lacks words (Wei and Zou, "EDA", EMNLP 2019;
Karpukhin et al., "Training on Synthetic Noise Improves Robustness to Natural Noise", 2019). See
`image_views` for why views are functions.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
import torch

from regraft.backbones.tokens import TextTokens
from regraft.tasks.typing_errors import typing_error

_ROUND_TO = 8


class TextViews:
    """Views of a list of texts; `augmentation` are the fields of the recipe's section."""

    def __init__(
        self, texts: list[str], tokens: TextTokens, augmentation: dict[str, Any], *, seed: int
    ) -> None:
        self.texts = texts
        self.tokens = tokens
        self.typos: float = augmentation["typos"]
        self.word_dropout: float = augmentation["word_dropout"]
        self.seed = seed
        longest = max(map(len, tokens.ids(texts)), default=1)
        # a typing error breaks a word into more pieces, and a cache has one length for all views
        longest = round(longest * (1.5 if self.typos else 1.0))
        self.length = min(-(-longest // _ROUND_TO) * _ROUND_TO, tokens.max_tokens)

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def fingerprint(self) -> str:
        """Digest of everything that the tokens of a view depend on."""
        how = [self.typos, self.word_dropout, self.seed, self.length, self.tokens.digest]
        return hashlib.sha256(json.dumps([self.texts, *how]).encode()).hexdigest()

    def at_size(self, image_size: int) -> TextViews:
        """A text has no size; a plan that asks for one is refused before."""
        return self

    def text(self, index: int, view: int) -> str:
        """One view as text."""
        plain = self.texts[index]
        if view == 0 or not (self.typos or self.word_dropout):
            return plain
        seed = hashlib.sha256(f"{self.seed}/{plain}/{view}".encode()).digest()
        return noisy(
            plain, np.random.default_rng(list(seed)), typos=self.typos, dropout=self.word_dropout
        )

    def batch(self, indices: np.ndarray, views: np.ndarray) -> torch.Tensor:
        """int64 (n, 2, length)."""
        texts = [self.text(int(i), int(v)) for i, v in zip(indices, views, strict=True)]
        return self.tokens.tensor(texts, length=self.length)


def noisy(text: str, rng: np.random.Generator, *, typos: float, dropout: float) -> str:
    """The text without a share of its words, and with a typing error in a share of the others.

    >>> noisy("what causes asthma", np.random.default_rng(0), typos=0.0, dropout=0.0)
    'what causes asthma'
    """
    words = text.split()
    kept = [word for word in words if rng.random() >= dropout] or words
    return " ".join(_mistyped(word, rng) if rng.random() < typos else word for word in kept)


def _mistyped(word: str, rng: np.random.Generator) -> str:
    """Never in the first letter, nor in a short word."""
    return typing_error(word, int(rng.integers(1, len(word) - 1)), rng) if len(word) > 3 else word
