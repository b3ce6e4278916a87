"""Text as a transformer reads it: token ids and a mask of what is text, in one tensor."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch
    from tokenizers import Tokenizer

_CHARACTERS_PER_TOKEN = 64
"""Far more than a token has: text beyond is cut unread, so a book costs no more than a page."""
_MASKS = ("[MASK]", "<mask>")


def _unknown_id(tokenizer: Tokenizer, text: str) -> int | None:
    """The id of the token for what is not in the vocabulary; byte-level tokenizers have none."""
    name = json.loads(text)["model"].get("unk_token")
    return tokenizer.token_to_id(name) if isinstance(name, str) else None


class TextTokens:
    """A tokenizer (`tokenizer.json` of the `tokenizers` library) with a longest length.

    TextTokens(json_text, max_tokens=128, pad_id=0).tensor(["What is asthma?"])  # (1, 2, 6)
    """

    def __init__(self, tokenizer: str, *, max_tokens: int, pad_id: int) -> None:
        from tokenizers import Tokenizer

        self.json = tokenizer
        self.max_tokens = max_tokens
        self.pad_id = pad_id
        self._tokenizer = Tokenizer.from_str(tokenizer)
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(max_tokens)
        self._unknown = _unknown_id(self._tokenizer, tokenizer)

    @property
    def digest(self) -> str:
        """sha256 of the tokenizer."""
        return hashlib.sha256(self.json.encode()).hexdigest()

    @property
    def mask_id(self) -> int | None:
        """The id of the token that stands for a hidden one; None where the vocabulary has none."""
        found = (self._tokenizer.token_to_id(name) for name in _MASKS)
        return next((one for one in found if one is not None), None)

    @property
    def special_ids(self) -> list[int]:
        """Ids that stand for no piece of a text: padding, the mask, what begins and ends one."""
        hidden = [] if self.mask_id is None else [self.mask_id]
        return sorted({self.pad_id, *self._tokenizer.encode("").ids, *hidden})

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, special tokens included, at most `max_tokens`."""
        longest = self.max_tokens * _CHARACTERS_PER_TOKEN
        encoded = self._tokenizer.encode_batch([text[:longest] for text in texts])
        return [one.ids for one in encoded]

    def tensor(self, texts: Sequence[str], *, length: int = 0) -> torch.Tensor:
        """int64 (n, 2, length): the ids, and 1 where they are text, 0 where they are padding.
        Without a `length` it is that of the longest text."""
        import torch

        found = self.ids(texts)
        wide = length or max(map(len, found), default=1)
        array = np.zeros((len(found), 2, wide), dtype=np.int64)
        array[:, 0] = self.pad_id
        for row, ids in enumerate(found):
            cut = ids[:wide]
            array[row, 0, : len(cut)] = cut
            array[row, 1, : len(cut)] = 1
        return torch.from_numpy(array)

    def broken_share(self, text: str) -> float:
        """Share of a text's tokens that are unknown or continue a word that the vocabulary had to
        break up (0 to 1); 0 of an empty text."""
        encoded = self._tokenizer.encode(
            text[: self.max_tokens * _CHARACTERS_PER_TOKEN], add_special_tokens=False
        )
        if not encoded.ids:
            return 0.0
        before = [None, *encoded.word_ids[:-1]]
        broken = [
            word == last or token == self._unknown
            for word, last, token in zip(encoded.word_ids, before, encoded.ids, strict=True)
        ]
        return sum(broken) / len(broken)
