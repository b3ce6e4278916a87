"""Training views of texts as a deterministic function of (seed, text, view number).

View 0 is the text; view v > 0 has typing errors and lacks words (Wei and Zou, "EDA", EMNLP 2019;
Karpukhin et al., "Training on Synthetic Noise Improves Robustness to Natural Noise", 2019), and may
be about another topic: what is asked of a drug stays the same question when it is another drug. See
`image_views` for why views are functions.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from regraft.backbones.tokens import TextTokens
from regraft.tasks.typing_errors import typing_error

_ROUND_TO = 8


class TextViews:
    """Views of a list of texts; `augmentation` are the fields of the recipe's section.

    `topics` are what each text is about, '' where that is not known; a text that names its topic
    gets the name of another one of these.
    """

    def __init__(
        self,
        texts: list[str],
        tokens: TextTokens,
        augmentation: dict[str, Any],
        *,
        seed: int,
        topics: Sequence[str] = (),
    ) -> None:
        self.texts = texts
        self.tokens = tokens
        self.typos: float = augmentation["typos"]
        self.word_dropout: float = augmentation["word_dropout"]
        self.topic_swaps: float = augmentation["topic_swaps"]
        self._others = sorted({*topics} - {""}) if self.topic_swaps else []
        self.topics = list(topics) if self._others else []
        self.seed = seed
        longest = max(map(len, tokens.ids(texts)), default=1)
        # a typing error breaks a word into more pieces, another topic may be longer, and a cache
        # has one length for all views
        longest = round(longest * (1.5 if self.typos or self.topics else 1.0))
        self.length = min(-(-longest // _ROUND_TO) * _ROUND_TO, tokens.max_tokens)

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def fingerprint(self) -> str:
        """Digest of everything that the tokens of a view depend on."""
        how = [self.typos, self.word_dropout, self.topic_swaps, self.topics, self.seed]
        how += [self.length, self.tokens.digest]
        return hashlib.sha256(json.dumps([self.texts, *how]).encode()).hexdigest()

    def at_size(self, image_size: int) -> TextViews:
        """A text has no size; a plan that asks for one is refused before."""
        return self

    def text(self, index: int, view: int) -> str:
        """One view as text."""
        plain = self.texts[index]
        if view == 0 or not (self.typos or self.word_dropout or self.topics):
            return plain
        seed = hashlib.sha256(f"{self.seed}/{plain}/{view}".encode()).digest()
        rng = np.random.default_rng(list(seed))
        if self.topics and rng.random() < self.topic_swaps:
            plain = about(plain, self.topics[index], self._others[rng.integers(len(self._others))])
        return noisy(plain, rng, typos=self.typos, dropout=self.word_dropout)

    def batch(self, indices: np.ndarray, views: np.ndarray) -> torch.Tensor:
        """int64 (n, 2, length)."""
        texts = [self.text(int(i), int(v)) for i, v in zip(indices, views, strict=True)]
        return self.tokens.tensor(texts, length=self.length)


def about(text: str, topic: str, other: str) -> str:
    """The text with `other` where it names its topic; as it is where it does not.

    >>> about("Can Aspirin be taken with milk?", "aspirin", "ibuprofen")
    'Can ibuprofen be taken with milk?'
    """
    if not topic:
        return text
    return re.sub(rf"(?i)(?<!\w){re.escape(topic)}(?!\w)", lambda _: other, text)


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
