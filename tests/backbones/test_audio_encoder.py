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
    AudioSpec,
    embed_words,
    load_audio_encoder,
    waveforms,
    windowed,
)
from regraft.backbones.audio_networks import WhisperAudio
from regraft.backbones.blocks import ordered_blocks
from regraft.backbones.encoder import load_encoder
from regraft.backbones.families.speech_embedding import SpeechEmbedding
from regraft.errors import UserError


def network() -> SpeechEmbedding:
    torch.manual_seed(0)
    return SpeechEmbedding(width=4).eval()


def noise(samples: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, samples).astype(np.float32)


def test_the_blocks_are_what_lies_between_the_poolings() -> None:
    blocks = ordered_blocks(SpeechEmbedding())
    assert [len(block.parameters) for block in blocks] == [3, 4, 8, 8, 8, 8, 1]
    assert blocks[0].parameters[0] == "conv0.weight"
    assert blocks[-1].parameters == ("conv19.weight",)


def test_an_embedding_does_not_depend_on_its_neighbours_or_its_loudness() -> None:
    encoder = AudioEncoder(AudioSpec("speech_embedding", {"width": 4}), network())
    words = [noise(n, seed=n) for n in (5_000, 9_000, WINDOW_SAMPLES + 10, 400)]
    together = embed_words(encoder, words)
    assert together.shape == (4, encoder.dim)
    alone = np.concatenate([embed_words(encoder, [0.1 * word]) for word in words])
    np.testing.assert_allclose(together, alone, atol=1e-3)


def test_a_word_lies_in_the_middle_of_its_window() -> None:
    window = windowed(noise(9_000))
    assert len(window) == WINDOW_SAMPLES
    filled = np.flatnonzero(window)
    assert abs(filled[0] - (len(window) - 1 - filled[-1])) <= 1
    assert np.isclose(np.sqrt(np.mean(window[filled] ** 2)), 0.08, rtol=0.01)


def test_of_a_long_recording_the_loudest_stretch_is_read() -> None:
    word = noise(6_000)
    long = np.concatenate([0.01 * noise(70_000, seed=1), word, 0.01 * noise(50_000, seed=2)])
    window = windowed(long)
    at = np.correlate(window, word, "valid").argmax()
    assert np.corrcoef(window[at : at + 6_000], word)[0, 1] > 0.99


def encoders(tmp_path: Path) -> list[AudioEncoder]:
    return [
        AudioEncoder(AudioSpec("speech_embedding", {"width": 4}), network()),
        load_audio_encoder(str(tiny_wav2vec2(tmp_path / "wav2vec2"))),
        load_audio_encoder(str(tiny_whisper(tmp_path / "whisper"))),
    ]


def test_every_encoder_can_be_cut_behind_every_block_and_built_again(tmp_path: Path) -> None:
    x = waveforms([noise(4_000, seed=1), noise(9_000, seed=2)])
    for encoder in encoders(tmp_path):
        for block in encoder.blocks[:-1]:
            assert encoder.trunk_is_exact(x, block.index)
        encoder.save(tmp_path / "saved")
        again = load_encoder(tmp_path / "saved")
        with torch.inference_mode():
            torch.testing.assert_close(again(x), encoder(x))
            assert not torch.allclose(encoder.blank().eval()(x), encoder(x), atol=1e-3)


def test_frozen_blocks_stay_and_free_ones_move(tmp_path: Path) -> None:
    x = waveforms([noise(4_000), noise(9_000, seed=2)])
    for encoder in encoders(tmp_path):
        last = len(encoder.blocks) - 1
        encoder.freeze_except({last})
        encoder.train()
        before = [p.detach().clone() for p in encoder.parameters()]
        weights = torch.randn(encoder.dim, generator=torch.Generator().manual_seed(0))
        (encoder(x) @ weights).sum().backward()  # one column may be of blocks before the last
        torch.optim.SGD([p for p in encoder.parameters() if p.requires_grad], 1.0).step()
        moved = {id(p) for p, old in zip(encoder.parameters(), before, strict=True)
                 if not torch.equal(p, old)}  # fmt: skip
        assert moved and moved <= {id(p) for p in encoder.parameters_of(last)}
        assert all(torch.isfinite(p).all() for p in encoder.parameters())


def test_a_silent_channel_does_not_stop_training() -> None:
    encoder = AudioEncoder(AudioSpec("speech_embedding", {"width": 4}), network())
    encoder(torch.zeros(2, WINDOW_SAMPLES)).sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in encoder.parameters() if p.grad is not None)


def test_missing_and_foreign_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="missing"):
        load_audio_encoder("speech_embedding", weights=str(tmp_path / "none.safetensors"))
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(UserError, match="do not fit"):
        load_audio_encoder("speech_embedding", weights=str(tmp_path / "other.safetensors"))
    with pytest.raises(UserError, match="could not be loaded"):
        load_audio_encoder(str(tmp_path))


def tiny_wav2vec2(folder: Path) -> Path:
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
    torch.manual_seed(0)
    Wav2Vec2Model(config).save_pretrained(folder)
    return folder


def tiny_whisper(folder: Path) -> Path:
    from transformers import WhisperConfig, WhisperModel

    config = WhisperConfig(
        d_model=16, encoder_layers=2, encoder_attention_heads=2, encoder_ffn_dim=16,
        decoder_layers=1, decoder_attention_heads=2, decoder_ffn_dim=16, num_mel_bins=20,
        vocab_size=9, pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=1,
        encoder_layerdrop=0.5,
    )  # fmt: skip
    torch.manual_seed(0)
    WhisperModel(config).save_pretrained(folder)
    return folder


def test_whisper_reads_the_window_as_its_own_extractor_does(tmp_path: Path) -> None:
    from transformers import WhisperFeatureExtractor, WhisperModel

    encoder = load_audio_encoder(str(tiny_whisper(tmp_path)))
    assert isinstance(encoder.model, WhisperAudio)
    x = waveforms([noise(9_000), noise(15_000, seed=1)])
    extractor = WhisperFeatureExtractor(feature_size=20, chunk_length=2)
    own = extractor(list(x.numpy()), sampling_rate=16_000, return_tensors="pt", padding=False)
    torch.testing.assert_close(encoder.model.read(x), own.input_features, atol=1e-4, rtol=1e-4)
    whole = WhisperModel.from_pretrained(tmp_path).encoder.eval()
    silent = torch.full((2, 20, 3000), 0.0)
    silent[:, :, :128] = encoder.model.read(x)
    with torch.inference_mode():
        before_layers = torch.nn.functional.gelu(whole.conv2(torch.nn.functional.gelu(
            whole.conv1(silent)))).transpose(1, 2) + whole.embed_positions.weight  # fmt: skip
        found = encoder.model.run(x, 0, 0)[0]
    torch.testing.assert_close(found[:, :63], before_layers[:, :63])  # the 64th sees what follows


def test_a_transformers_encoder_comes_from_its_folder(tmp_path: Path) -> None:
    tiny_wav2vec2(tmp_path)
    encoder = load_audio_encoder(str(tmp_path))
    assert encoder.dim == 3 * 3 * 16  # two layers and their input
    assert len(encoder.blocks) == 3
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
    encoder = load_audio_encoder("speech_embedding", weights=str(folder / "model.safetensors"))
    published = np.load(folder / "reference_io.npz")
    assert isinstance(encoder.model, SpeechEmbedding)
    with torch.inference_mode():
        mel = encoder.model.frontend(torch.from_numpy(published["audio_16k"]) / 32768)
        found = encoder.model.forward_maps(mel[:, :, :76])[..., 0, 0].numpy()
    np.testing.assert_allclose((mel[:, 0] - 2).numpy() * 10, published["mel_db"], atol=1e-3)
    np.testing.assert_allclose(found, published["embedding_first76"], atol=1e-3)
