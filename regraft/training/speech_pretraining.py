"""The starter of speech: a small encoder pre-trained on words that a synthesiser says.

Source task: which of 118 everyday words is it, in 30 voices, degraded as `data.audio_views` does
(Lin et al., "Training Keyword Spotters with Limited and Synthesized Speech Data", ICASSP 2020).
None of the words is a number. Files as those of `pretraining`, without timm's config.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from regraft.backbones.audio_encoder import waveforms
from regraft.backbones.families.speech_embedding import SpeechEmbedding
from regraft.data.audio import DEFAULT_RATE, resampled
from regraft.data.audio_views import degraded
from regraft.data.examples.voices import drawn_voices, speak
from regraft.progress import note, track
from regraft.training.starter_files import (
    check_file,
    library_versions,
    save_weights,
    write_card,
)
from regraft.training.starter_probe import fixed_torch

WORDS = (
    "about above after again air all animal answer apple arm ask back bag ball bear bed begin "
    "bird black blue boat body book box boy bread bring brother build bus call car cat chair "
    "child city clean close cloud coat cold come cook corner cut dance day dog door down draw "
    "dream drink dry ear earth eat egg evening eye face fall family farm father field fire fish "
    "floor flower food foot forest friend fruit garden girl give glass go good grass green "
    "ground hair hand happy hat head hear heart hill home horse house ice jump key kitchen lamp "
    "laugh leaf left letter light long lunch map milk money moon morning mother mountain mouth "
    "music name night"
).split()
VOICES = 30
_SEED_OF_VOICES = 11
_BATCH = 32
_PEAK_RATE = 3e-3
_HELD_OUT_VOICES = 3


def pretrain_speech(
    out_file: Path | str, *, width: int = 12, epochs: int = 6, seed: int = 0, threads: int = 1
) -> dict[str, Any]:
    """Pre-train a `SpeechEmbedding` of this width and write the starter folder; returns its card.

    Raises UserError for another kind of file, or where the synthesiser is not installed.
    """
    out_file = Path(out_file)
    check_file(out_file)
    started = time.process_time()
    with fixed_torch(seed, threads):
        network = SpeechEmbedding(width=width)
        words, labels, voices = _spoken()
        losses, accuracy = _fit(network, words, labels, voices, epochs=epochs, seed=seed)
    tensors = {k: v for k, v in network.state_dict().items() if not k.startswith("frontend.")}
    save_weights(tensors, out_file, {"architecture": "speech_embedding"})
    config = json.dumps({"width": width}) + "\n"
    out_file.with_name("config.json").write_text(config, encoding="utf-8")
    card = {
        "name": out_file.parent.name,
        "width": width,
        "words": len(WORDS),
        "voices": VOICES,
        "epochs": epochs,
        "seed": seed,
        "threads": threads,
        "train_loss": [round(loss, 4) for loss in losses],
        "source_task_accuracy": round(accuracy, 4),
        "cpu_seconds": round(time.process_time() - started, 1),
        "file_bytes": out_file.stat().st_size,
        "licence": "Apache-2.0",
        "third_party_data": "none; the voices are those of eSpeak NG (GPL-3.0, not part of this)",
        "made_with": library_versions(),
        "reproduce": f"regraft pretrain --of speech --epochs {epochs} --seed {seed} --out "
        f"regraft/starters/speech/{out_file.parent.name}/{out_file.name}",
    }
    write_card(card, out_file.parent, _card_text(card))
    return card


def _spoken() -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """Every word in every voice at 16 kHz, the number of the word and of the voice."""
    found = []
    for voice in track(drawn_voices(VOICES, _SEED_OF_VOICES), "speaking", total=VOICES):
        for word in WORDS:
            samples, rate = speak(word, voice)
            found.append(resampled(samples, rate, DEFAULT_RATE))
    labels = np.tile(np.arange(len(WORDS)), VOICES)
    return found, labels, np.repeat(np.arange(VOICES), len(WORDS))


def _fit(
    network: SpeechEmbedding,
    words: list[np.ndarray],
    labels: np.ndarray,
    voices: np.ndarray,
    *,
    epochs: int,
    seed: int,
) -> tuple[list[float], float]:
    """Train; the mean loss of each epoch, and the accuracy on the voices that were held out."""
    rng = np.random.default_rng(seed)
    train = np.flatnonzero(voices < VOICES - _HELD_OUT_VOICES)
    head = nn.Linear(network.num_features, len(WORDS))
    _put_norms(network)
    model = nn.Sequential(network, head)
    optimiser = torch.optim.AdamW(model.parameters(), lr=_PEAK_RATE, weight_decay=0.02)
    steps = len(train) // _BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, max_lr=_PEAK_RATE, total_steps=steps * epochs, pct_start=0.2
    )
    history = []
    for epoch in track(range(epochs), "pre-training", total=epochs):
        model.train()
        losses = []
        for chosen in rng.permutation(train)[: steps * _BATCH].reshape(steps, _BATCH):
            x = waveforms([degraded(words[i], rng) for i in chosen])
            loss = nn.functional.cross_entropy(
                model(x), torch.from_numpy(labels[chosen]), label_smoothing=0.1
            )
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 2.0)
            optimiser.step()
            schedule.step()
            losses.append(loss.item())
        history.append(float(np.mean(losses)))
        if not np.isfinite(history[-1]):
            raise RuntimeError(f"pre-training diverged in epoch {epoch + 1}: loss {history[-1]}")
        note(f"epoch {epoch + 1}/{epochs}: loss {history[-1]:.3f}")
    accuracy = _accuracy(model.eval(), words, labels, voices >= VOICES - _HELD_OUT_VOICES)
    _fold_norms(network)
    return history, accuracy


def _put_norms(network: SpeechEmbedding) -> None:
    """Batch norm behind every convolution but the first, which has one: 20 layers learn in minutes
    with it and hardly without."""
    for name, layer in list(network.named_children()):
        if isinstance(layer, nn.Conv2d) and name != "conv0":
            setattr(network, name, nn.Sequential(layer, nn.BatchNorm2d(layer.out_channels)))


def _fold_norms(network: SpeechEmbedding) -> None:
    """The same network in eval mode, in place, with the layers of the published one. A last
    convolution without bias loses a constant of its output."""
    for name, pair in list(network.named_children()):
        if isinstance(pair, nn.Sequential):
            layer: Any = pair[0]
            norm: Any = pair[1]
            folded = fuse_conv_bn_eval(layer, norm)
            folded.bias = None if layer.bias is None else folded.bias
            setattr(network, name, folded)


@torch.inference_mode()
def _accuracy(
    model: nn.Module, words: list[np.ndarray], labels: np.ndarray, chosen: np.ndarray
) -> float:
    rows = np.flatnonzero(chosen)
    parts = [rows[start : start + _BATCH] for start in range(0, len(rows), _BATCH)]
    right = [model(waveforms([words[i] for i in p])).argmax(1).numpy() == labels[p] for p in parts]
    return float(np.concatenate(right).mean())


def _card_text(card: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in card["made_with"].items())
    return f"""# Starter backbone `{card["name"]}`

A small encoder of speech for machines that reach no model hub: speech_embedding
(`regraft/backbones/families/speech_embedding.py`) that begins with {card["width"]} instead of 24
channels, float16, {card["file_bytes"] / 1e6:.2f} MB; its front end is computed.

**Made from**: {card["words"]} everyday words, none of them a number, said by a synthesiser
(eSpeak NG) in {card["voices"]} voices and degraded anew in each of {card["epochs"]} epochs,
{card["cpu_seconds"]:.0f} CPU seconds. No recording of a person.

**Licence**: {card["licence"]}, like the rest of the project. The synthesiser is GPL-3.0 and comes
with the package espeakng-loader; neither it nor its output is in this folder.

**Source task**: {card["source_task_accuracy"]:.1%} of the words of {_HELD_OUT_VOICES} voices
held out (chance {1 / card["words"]:.1%}).

It has heard a machine, not people: for recordings of people take speech_embedding with its weights,
or an encoder of transformers.

**Make it again** (bit-equal on the same kind of processor with {versions}):

```
{card["reproduce"]}
```
"""
