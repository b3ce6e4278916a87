"""A recogniser of two words that needs no training, and recordings for it."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import soundfile
import torch

from regraft.backbones.audio_encoder import AudioEncoder, AudioSpec
from regraft.backbones.families.speech_embedding import SpeechEmbedding
from regraft.backbones.motion_autoencoder import MotionAutoencoder
from regraft.tasks import load_model, speech_to_sign
from regraft.tasks.sign_bridge import SignBridge
from regraft.tasks.signer import Signer
from regraft.tasks.speech_predictor import SpeechPredictor

WORDS = ["no", "yes"]


def encoder() -> AudioEncoder:
    torch.manual_seed(0)
    return AudioEncoder(
        AudioSpec("speech_embedding", {"width": 4}), SpeechEmbedding(width=4)
    ).eval()


def tone(hertz: float = 300, seconds: float = 0.4, rate: int = 16_000) -> np.ndarray:
    return 0.3 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate)


def as_bytes(samples: np.ndarray, rate: int = 16_000, subtype: str = "PCM_16") -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format="WAV", subtype=subtype)
    return buffer.getvalue()


def saved_and_loaded(folder: Path) -> SpeechPredictor:
    """It says "yes" to everything, and its signer knows "no" alone."""
    model = speech_to_sign.new_model(encoder(), WORDS, test_views=1)
    model.set_head(np.zeros((2, model.encoder.dim)), np.array([0.0, 1.0]))
    speech_to_sign.save(model, folder)
    bridge = SignBridge(MotionAutoencoder(), torch.randn(2, 4, 64)).eval()
    Signer(bridge, WORDS, frozenset({"no"})).save(folder)
    found = load_model(folder)
    assert isinstance(found, SpeechPredictor)
    return found
