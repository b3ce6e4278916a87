"""Encoders of speech: the published one equals its reference, and words come in any length."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from regraft.backbones.audio_encoder import (
    WINDOW_SAMPLES,
    AudioEncoder,
    embed_words,
    load_audio_encoder,
    windowed,
)
from regraft.backbones.blocks import ordered_blocks
from regraft.backbones.families.speech_embedding import SpeechEmbedding
from regraft.errors import UserError


def network() -> SpeechEmbedding:
    torch.manual_seed(0)
    made = SpeechEmbedding().eval()
    for name in ("stft_real", "stft_imag", "mel_filters"):
        torch.nn.init.uniform_(getattr(made.frontend, name), 0, 0.1)
    return made


def noise(samples: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, samples).astype(np.float32)


def test_the_blocks_are_what_lies_between_the_poolings() -> None:
    blocks = ordered_blocks(SpeechEmbedding())
    assert [len(block.parameters) for block in blocks] == [3, 4, 8, 8, 8, 8, 1]
    assert blocks[0].parameters[0] == "conv0.weight"
    assert blocks[-1].parameters == ("conv19.weight",)


def test_an_embedding_does_not_depend_on_its_neighbours_or_its_loudness() -> None:
    encoder = AudioEncoder(network())
    words = [noise(n, seed=n) for n in (5_000, 9_000, WINDOW_SAMPLES + 10, 400)]
    together = embed_words(encoder, words)
    assert together.shape == (4, encoder.dim)
    alone = np.concatenate([embed_words(encoder, [0.1 * word]) for word in words])
    np.testing.assert_allclose(together, alone, atol=1e-3)


def test_a_word_lies_in_the_middle_of_whole_windows() -> None:
    window = windowed(noise(WINDOW_SAMPLES + 2))
    assert len(window) == 2 * WINDOW_SAMPLES
    filled = np.flatnonzero(window)
    assert abs(filled[0] - (len(window) - 1 - filled[-1])) <= 1
    assert np.isclose(np.sqrt(np.mean(window[filled] ** 2)), 0.08, rtol=0.01)


def test_missing_and_foreign_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="missing"):
        load_audio_encoder("speech_embedding", tmp_path / "none.safetensors")
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(UserError, match="not the weights"):
        load_audio_encoder("speech_embedding", tmp_path / "other.safetensors")
    with pytest.raises(UserError, match="could not be loaded"):
        load_audio_encoder(str(tmp_path))


def test_a_transformers_encoder_comes_from_its_folder(tmp_path: Path) -> None:
    from transformers import Wav2Vec2Config, Wav2Vec2Model

    config = Wav2Vec2Config(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        conv_dim=(8, 8),
        conv_stride=(5, 4),
        conv_kernel=(10, 8),
        num_feat_extract_layers=2,
        num_conv_pos_embeddings=4,
        num_conv_pos_embedding_groups=2,
    )
    Wav2Vec2Model(config).save_pretrained(tmp_path)
    encoder = load_audio_encoder(str(tmp_path))
    assert encoder.dim == 3 * 3 * 16  # two layers and their input
    assert np.isfinite(embed_words(encoder, [noise(3_000)])).all()


def test_a_transformers_model_of_text_is_refused(tmp_path: Path) -> None:
    from transformers import BertConfig, BertModel

    config = BertConfig(
        vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8
    )
    BertModel(config).save_pretrained(tmp_path)
    with pytest.raises(UserError, match="does not read waveforms"):
        load_audio_encoder(str(tmp_path))


@pytest.mark.realdata
def test_the_published_weights_give_the_published_answers(real_data: Path) -> None:
    folder = real_data / "weights" / "speech_embedding"
    encoder = load_audio_encoder("speech_embedding", folder / "model.safetensors")
    published = np.load(folder / "reference_io.npz")
    assert isinstance(encoder.network, SpeechEmbedding)
    with torch.inference_mode():
        mel = encoder.network.frontend(torch.from_numpy(published["audio_16k"]) / 32768)
        found = encoder.network.forward_maps(mel[:, :, :76])[..., 0, 0].numpy()
    np.testing.assert_allclose((mel[:, 0] - 2).numpy() * 10, published["mel_db"], atol=1e-3)
    np.testing.assert_allclose(found, published["embedding_first76"], atol=1e-3)
