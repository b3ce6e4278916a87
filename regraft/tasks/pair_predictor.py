"""A saved classifier of image-text pairs, ready to answer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from regraft.backbones.heads.fusion import FusionHead
from regraft.backbones.pair_encoder import IMAGE, TEXT, PairEncoder
from regraft.data.image_statistics import image_statistics
from regraft.data.images import DEFAULT_MAX_PIXELS, open_rgb
from regraft.data.pair_files import FIELDS, PairFile, open_pair
from regraft.data.texts import open_text, statistics_of
from regraft.errors import UserError
from regraft.tasks.classifier import Classifier
from regraft.tasks.classifier_predictor import ClassifierPredictor

BETWEEN = "::"
"""What stands between a photo's path and its question where a person types both."""


@dataclass(frozen=True)
class Prepared:
    """A pair as the encoders read it: (1, 3, size, size) and (1, 2, tokens), None where missing."""

    image: torch.Tensor | None
    tokens: torch.Tensor | None


class PairPredictor(ClassifierPredictor):
    """Answers pairs: files of pairs (see `data.pair_files`), their bytes or their JSON text, and
    `PHOTO::QUESTION`. One modality may be missing; then that of the other answers.

    An answer has `abstains`, whether the confidence is below `abstain_below`, which it takes to be
    right often enough, and `answered_by`.
    """

    task = "image_text_classification"
    fields = FIELDS

    def __init__(self, model: Classifier) -> None:
        super().__init__(model)
        head = model.head
        self.abstain_below = float(head.abstain_below) if isinstance(head, FusionHead) else 0.0

    @property
    def encoder(self) -> PairEncoder:
        encoder = self.model.encoder
        assert isinstance(encoder, PairEncoder)
        return encoder

    def tensor(self, values: list[Any]) -> torch.Tensor:
        """Rows of `PairEncoder.packed`, padded to the longest text."""
        pairs = [v if isinstance(v, Prepared) else self._prepared(decode(v)) for v in values]
        longest = max((p.tokens.shape[2] for p in pairs if p.tokens is not None), default=1)
        return torch.cat([self._packed(pair, longest) for pair in pairs])

    def _packed(self, pair: Prepared, longest: int) -> torch.Tensor:
        tokens = pair.tokens
        padded = torch.zeros(1, 2, longest, dtype=torch.long)
        if tokens is not None:
            padded = nn.functional.pad(tokens, (0, longest - tokens.shape[2]))
        x = self.encoder.packed(pair.image, padded)
        x[0, 1] = float(tokens is not None)
        return x

    def _prepared(self, pair: PairFile, max_pixels: int = DEFAULT_MAX_PIXELS) -> Prepared:
        return self._with_statistics(pair, max_pixels)[0]

    def _with_statistics(
        self, pair: PairFile, max_pixels: int
    ) -> tuple[Prepared, dict[str, float]]:
        image = tokens = None
        facts: dict[str, float] = {}
        if pair.image is not None:
            picture = open_rgb(pair.image, max_pixels=max_pixels)
            image = self.encoder.image.spec.preprocessing.tensor([picture])
            facts |= image_statistics(picture)
        if pair.text is not None:
            tokens = self.encoder.text.tokens.tensor([pair.text])
            facts |= statistics_of(pair.text)
        return Prepared(image, tokens), facts

    def from_text(self, text: str) -> bytes:
        """The bytes of a pair that came as JSON text; no file is opened for it."""
        return text.encode("utf-8", "replace")

    def prepare(self, data: bytes, *, max_pixels: int) -> tuple[Prepared, dict[str, float]]:
        """The networks' inputs of a pair, and the statistics of its image (of at most `max_pixels`
        pixels) and of its text. Raises `UserError`."""
        return self._with_statistics(open_pair(data), max_pixels)

    def describe(self, value: Any) -> dict[str, float]:
        """Those statistics; see `image_statistics` and `texts.statistics_of`."""
        return self._with_statistics(decode(value), DEFAULT_MAX_PIXELS)[1]

    def measured(self, embeddings: np.ndarray) -> list[dict[str, float]]:
        """`match`: the cosine of image and text after their alignment on the training pairs. What
        image and text look like stays the same where their pairs are mixed up; this does not."""
        head = self.model.head
        if not isinstance(head, FusionHead) or not head.aligned:
            return [{} for _ in embeddings]
        return [
            {} if np.isnan(match) else {"match": round(float(match), 5)}
            for match in head.match(embeddings)
        ]

    def answer(self, inputs: list[Any]) -> tuple[list[dict[str, Any]], np.ndarray]:
        """As of every classifier, with `abstains` and `answered_by`."""
        answers, embeddings = super().answer(inputs)
        parts = np.split(embeddings, [self.encoder.parts[0]], axis=1)
        there = np.stack([part.any(1) for part in parts], 1)
        for one, (seen, read) in zip(answers, there, strict=True):
            one["abstains"] = one["confidence"] < self.abstain_below
            one["answered_by"] = self._answerer if seen and read else (IMAGE if seen else TEXT)
        return answers, embeddings

    @property
    def _answerer(self) -> str:
        head = self.model.head
        return head.name if isinstance(head, FusionHead) else "both"


def decode(value: Any) -> PairFile:
    """The pair of bytes or JSON text, of the file that a path names, or of `PHOTO::QUESTION`, each
    of which may be empty. Raises UserError."""
    if isinstance(value, Path):
        return _of_file(value)
    if not isinstance(value, str) or value.lstrip().startswith("{"):
        return open_pair(value)
    photo, between, question = value.partition(BETWEEN)
    if not between:
        return _of_file(value)
    text = open_text(question) if question.strip() else None
    return _paired(_content(photo.strip()) if photo.strip() else None, text)


def _of_file(path: str | Path) -> PairFile:
    content = _content(path)
    return open_pair(content) if content.lstrip()[:1] == b"{" else _paired(content, None)


def _paired(image: bytes | None, text: str | None) -> PairFile:
    if image is None and text is None:
        raise UserError("the pair has neither an image nor a text", expected="PHOTO::QUESTION")
    return PairFile(image, text)


def _content(path: str | Path) -> bytes:
    try:
        return Path(path).read_bytes()
    except (OSError, ValueError) as error:
        raise UserError(
            "the pair cannot be read",
            got=str(path)[:80],
            expected="the path of a photo or of a file of a pair, PHOTO::QUESTION, or JSON",
        ) from error
