"""A saved text classifier, ready to answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from regraft.backbones.transformer import TransformerEncoder
from regraft.data.texts import open_text, statistics_of
from regraft.errors import UserError
from regraft.tasks.classifier import Classifier
from regraft.tasks.classifier_predictor import ClassifierPredictor
from regraft.tasks.encoded import is_file


class TextPredictor(ClassifierPredictor):
    """Answers texts, bytes in UTF-8, and paths of text files.

    `assistant` composes replies from a retriever; None where the model was saved without one.
    """

    task = "question_answering"

    def __init__(self, model: Classifier, assistant: Any = None) -> None:
        super().__init__(model)
        self.assistant = assistant

    @property
    def _encoder(self) -> TransformerEncoder:
        encoder = self.model.encoder
        assert isinstance(encoder, TransformerEncoder)
        return encoder

    def tensor(self, values: list[Any]) -> torch.Tensor:
        """int64 (n, 2, tokens of the longest)."""
        parts = [
            value if isinstance(value, torch.Tensor)  # of `prepare`
            else self._encoder.tokens.tensor([decode(value)])
            for value in values
        ]  # fmt: skip
        longest = max(part.shape[2] for part in parts)
        return torch.cat([nn.functional.pad(x, (0, longest - x.shape[2])) for x in parts])

    def from_text(self, text: str) -> bytes:
        """The bytes of a question that came as text in JSON; never those of a file of that name."""
        return text.encode("utf-8", "replace")

    def prepare(self, data: bytes, *, max_pixels: int = 0) -> tuple[torch.Tensor, dict[str, float]]:
        """The network's input (1, 2, tokens) of a text, and its statistics. `max_pixels` bounds
        pictures; a text is bounded by its characters. Raises `UserError`."""
        text = open_text(data)
        return self._encoder.tokens.tensor([text]), self._statistics(text)

    def describe(self, value: Any) -> dict[str, float]:
        """characters, words, function_words (share: another language has hardly any) and
        broken_words (share of the tokens that are pieces of words the vocabulary lacks)."""
        return self._statistics(decode(value))

    def _statistics(self, text: str) -> dict[str, float]:
        broken = self._encoder.tokens.broken_share(text)
        return {**statistics_of(text), "broken_words": round(broken, 4)}


def decode(value: Any) -> str:
    """The cleaned text of bytes, of a file, or of a text, which may name a file that there is.
    Raises UserError: it is empty, too long, or no UTF-8, or a `Path` cannot be read."""
    if isinstance(value, str) and is_file(value):
        value = Path(value)
    return open_text(_content(value) if isinstance(value, Path) else value)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(
            "the text cannot be read",
            where=str(path),
            got=error.strerror or type(error).__name__,
            expected="the file that was there when the data were validated",
            fix="run data validation again; texts of a table are kept in REGRAFT_HOME, which all "
            "steps must share",
        ) from error
