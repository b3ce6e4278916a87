"""A saved recogniser of spoken words, ready to answer, and to sign what it heard."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from regraft.backbones.audio_encoder import waveforms
from regraft.data.audio import open_described
from regraft.tasks.classifier import Classifier
from regraft.tasks.classifier_predictor import ClassifierPredictor
from regraft.tasks.encoded import decoded, opened
from regraft.tasks.signer import Signer


class SpeechPredictor(ClassifierPredictor):
    """Answers recordings: paths, bytes and base64 text.

    `signer` makes motion of what was heard; None where the model was saved without one.
    """

    task = "speech_to_sign"

    def __init__(self, model: Classifier, signer: Signer | None = None) -> None:
        super().__init__(model)
        self.signer = signer

    def tensor(self, values: list[Any]) -> torch.Tensor:
        """float32 (n, samples of a window)."""
        parts = [
            value if isinstance(value, torch.Tensor)  # of `prepare`
            else waveforms([described(value)[0]])
            for value in values
        ]  # fmt: skip
        return torch.cat(parts)

    def from_text(self, text: str) -> bytes:
        """The bytes that base64 text or a data: address stands for. Raises UserError."""
        return decoded(text, "a recording")

    def prepare(self, data: bytes, *, max_pixels: int = 0) -> tuple[torch.Tensor, dict[str, float]]:
        """The network's input (1, samples of a window) of the bytes of a recording, and its
        statistics. `max_pixels` bounds pictures; a recording is bounded by its seconds. Raises
        `UserError`."""
        word, statistics = open_described(data)
        return waveforms([word]), statistics

    def describe(self, value: Any) -> dict[str, float]:
        """Statistics of one recording; see `regraft.data.audio.statistics_of`."""
        return described(value)[1]

    def answer(self, inputs: list[Any]) -> tuple[list[dict[str, Any]], np.ndarray]:
        """As ever, and with a signer "motion": the sign as the bytes of an .npz file in base64."""
        rows, embeddings = self.rows_and_embeddings(inputs)
        answers = self.answers_of(rows)
        if self.signer and answers:
            logits = rows[:, : len(self.classes)]
            for answer, motion in zip(answers, self.signer.files(logits), strict=True):
                answer["motion"] = motion
        return answers, embeddings


def described(value: Any) -> tuple[np.ndarray, dict[str, float]]:
    """The samples at 16 kHz of a path, bytes or base64 text, and the recording's statistics.

    Raises UserError: neither an existing file nor base64, or no recording.
    """
    return opened(value, open_described, "a recording")
