"""Networks that read waveforms, by their name and weights: speech_embedding, the starter, and the
encoders of transformers.

`run(x, start, end)` are the outputs of blocks start..end of what goes into the first of them,
`over_time(x)` is such an output as (n, channels, time).
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from regraft.backbones.blocks import Block, ordered_blocks
from regraft.backbones.families.speech_embedding import SpeechEmbedding
from regraft.backbones.loading import STARTERS, load_state, read_state
from regraft.backbones.transformer import blocks_of
from regraft.backbones.transformer_files import config_object
from regraft.errors import UserError

_WHISPER = "whisper"
STARTER = STARTERS / "speech" / "speech_cnn" / "model.safetensors"
WINDOW_SAMPLES = 20_480
"""1.28 s at 16 kHz: what is read of a recording, with the word in the middle."""


class TransformersAudio(nn.Module):
    """Any audio encoder of transformers that reads waveforms (wav2vec2, HuBERT, WavLM, ...). Block
    0 is the convolutions and what follows them up to the first layer, each layer is a block, the
    last one with the normalisation behind it."""

    layers = "encoder.layers"
    """Path of the list of layers."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def run(self, x: torch.Tensor, start: int, end: int) -> dict[int, torch.Tensor]:
        """Outputs (n, time, hidden) of blocks start..end; `x` is waveforms, or what block
        `start` - 1 put out."""
        found: dict[int, torch.Tensor] = {}
        whole = self.model.get_submodule(self.layers)
        assert isinstance(whole, nn.ModuleList)
        layers: list[nn.Module] = [] if start == 0 else [_Start(x)]
        for index in range(start, end + 1):
            layers += [whole[index - 1]] if index else []
            layers.append(_Keep(found, index))
        shown = self.read(x) if start == 0 else self.dummy(x)
        self.model.set_submodule(self.layers, nn.ModuleList(layers))
        try:
            final = self.model(shown).last_hidden_state
        finally:
            self.model.set_submodule(self.layers, whole)
        if end == len(whole):
            found[end] = final
        return found

    def read(self, waveforms: torch.Tensor) -> torch.Tensor:
        """What the model of transformers takes of waveforms (n, samples)."""
        return _even(waveforms)

    def dummy(self, x: torch.Tensor) -> torch.Tensor:
        """As many inputs as `x` has rows, whose hidden states are exchanged."""
        return x.new_zeros(len(x), _SHORTEST)

    def over_time(self, x: torch.Tensor) -> torch.Tensor:
        return x.transpose(1, 2)


class WhisperAudio(TransformersAudio):
    """The encoder of Whisper (Radford et al., ICML 2023), which reads a log-mel spectrogram, cut to
    the window: its positions are sinusoids, the first ones stand for the first 1.28 s."""

    layers = "layers"
    mel_filters: torch.Tensor

    def __init__(self, model: Any) -> None:
        from transformers import WhisperFeatureExtractor

        super().__init__(model)
        extractor = WhisperFeatureExtractor(feature_size=model.config.num_mel_bins)
        filters = torch.tensor(extractor.mel_filters, dtype=torch.float32)
        self.register_buffer("mel_filters", filters, persistent=False)

    def read(self, waveforms: torch.Tensor) -> torch.Tensor:
        """(n, mel bands, frames), as Whisper's own extractor makes them of the window alone."""
        window = torch.hann_window(_WHISPER_FFT, device=waveforms.device)
        waves = torch.stft(
            waveforms, _WHISPER_FFT, _WHISPER_HOP, window=window, return_complex=True
        )[..., :-1]
        mel = (self.mel_filters.T @ waves.abs() ** 2).clamp(min=1e-10).log10()
        return (torch.maximum(mel, mel.amax((1, 2), keepdim=True) - 8.0) + 4.0) / 4.0

    def dummy(self, x: torch.Tensor) -> torch.Tensor:
        return x.new_zeros(len(x), self.mel_filters.shape[1], WINDOW_SAMPLES // _WHISPER_HOP)


_SHORTEST = 1_000  # samples of a dummy whose hidden states are exchanged
_WHISPER_FFT, _WHISPER_HOP = 400, 160
_WHISPER_POSITIONS = WINDOW_SAMPLES // (2 * _WHISPER_HOP)


class _Keep(nn.Module):
    """Notes what the layer before put out, and hands it on."""

    def __init__(self, found: dict[int, torch.Tensor], index: int) -> None:
        super().__init__()
        self.found, self.index = found, index

    def forward(self, hidden: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        self.found[self.index] = hidden
        return hidden


class _Start(nn.Module):
    """Puts in what the block before made, whatever comes."""

    def __init__(self, hidden: torch.Tensor) -> None:
        super().__init__()
        self.hidden = hidden

    def forward(self, *_: Any, **__: Any) -> torch.Tensor:
        return self.hidden


def _even(waveforms: torch.Tensor) -> torch.Tensor:
    mean = waveforms.mean(1, keepdim=True)
    spread: torch.Tensor = waveforms.std(1, keepdim=True) + 1e-7
    return (waveforms - mean) / spread


def audio_blocks(network: SpeechEmbedding | TransformersAudio) -> list[Block]:
    """The blocks of a network, each of which it can be cut behind."""
    if isinstance(network, SpeechEmbedding):
        return [replace(one, output=f"block {one.index}") for one in ordered_blocks(network)]
    found = blocks_of(network.model, network.layers)
    return [
        replace(one, parameters=tuple(f"model.{name}" for name in one.parameters)) for one in found
    ]


def shortened(
    network: SpeechEmbedding | TransformersAudio, config: dict[str, Any], blocks: int
) -> tuple[SpeechEmbedding | TransformersAudio, dict[str, Any]]:
    """The network with its first `blocks` blocks alone, in place, and its config."""
    if isinstance(network, SpeechEmbedding):
        return network.shortened(blocks), config | {"blocks": blocks}
    layers = network.model.get_submodule(network.layers)
    assert isinstance(layers, nn.ModuleList)
    network.model.set_submodule(network.layers, layers[: blocks - 1])
    count = "encoder_layers" if isinstance(network, WhisperAudio) else "num_hidden_layers"
    return network, config | {count: blocks - 1}


def network_of(config: dict[str, Any]) -> SpeechEmbedding | TransformersAudio:
    """The randomly initialised network of a spec's config."""
    if "model_type" not in config:
        return SpeechEmbedding(**config)
    from transformers import AutoModel

    own = config_object(config)
    if own.model_type == _WHISPER:
        return WhisperAudio(_whisper_encoder(own))
    return TransformersAudio(AutoModel.from_config(own).float())


def _whisper_encoder(config: Any) -> Any:
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    return WhisperEncoder(config).float()


def load_network(
    name: str, weights: str
) -> tuple[SpeechEmbedding | TransformersAudio, dict[str, Any], str]:
    """The network of this name with its weights, its config, and where the weights came from.

    Raises UserError where the weights are missing or fit another network.
    """
    if name == "starter":
        return _from_file(STARTER, "starter")
    if name == "speech_embedding":
        if weights == "random":
            return SpeechEmbedding(), {}, "random"
        return _from_file(Path(weights or "none given"), Path(weights).name)
    return _from_transformers(weights or name)


def _from_file(path: Path, origin: str) -> tuple[SpeechEmbedding, dict[str, Any], str]:
    """Weights, and beside the starter's a config.json with the network's arguments."""
    card = path.with_name("config.json")
    config = json.loads(card.read_text(encoding="utf-8")) if card.is_file() else {}
    network = SpeechEmbedding(**config)
    state = {key: value.float() for key, value in read_state(path).items()}
    own = {k: v for k, v in network.state_dict().items() if k.startswith("frontend.")}
    load_state(network, own | state, str(path))
    return network, config, origin


def _from_transformers(name: str) -> tuple[TransformersAudio, dict[str, Any], str]:
    from transformers import AutoConfig, AutoModel

    try:
        config = AutoConfig.from_pretrained(name)
        # chance outside the seed
        config.update({"layerdrop": 0.0, "encoder_layerdrop": 0.0, "apply_spec_augment": False})
        model = AutoModel.from_pretrained(name, config=config)
    except (OSError, ValueError) as error:
        raise UserError(
            "the audio encoder could not be loaded",
            where=name,
            got=str(error).splitlines()[0],
            expected="starter, speech_embedding, a folder of a transformers audio model, "
            "or its hub name",
        ) from error
    origin = Path(name).name if Path(name).is_dir() else "hub"
    if config.model_type == _WHISPER:
        return _cut_to_the_window(model, config), config.to_dict(), origin
    if getattr(config, "conv_stride", None) is None:
        raise UserError(
            "this transformers model does not read waveforms",
            where=name,
            got=str(config.model_type),
            expected="a model such as wav2vec2, hubert, wavlm or whisper",
        )
    if getattr(model, "masked_spec_embed", None) is not None:
        model.masked_spec_embed.requires_grad_(False)
    return TransformersAudio(model.float()), config.to_dict(), origin


def _cut_to_the_window(model: Any, config: Any) -> WhisperAudio:
    """The encoder with the positions of the window alone; `config` says so afterwards."""
    config.max_source_positions = _WHISPER_POSITIONS
    encoder = _whisper_encoder(config)
    state = model.encoder.float().state_dict()
    state["embed_positions.weight"] = state["embed_positions.weight"][:_WHISPER_POSITIONS]
    encoder.load_state_dict(state)
    return WhisperAudio(encoder)
