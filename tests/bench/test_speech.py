"""The bench of spoken words: what it draws, leaves out, and prints."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

from regraft.backbones.audio_encoder import load_audio_encoder
from regraft.bench.speech.recordings import Recordings, listed
from regraft.bench.speech.signs import gains, read_signs, sign_cells, sign_rows, sources_of_words
from regraft.bench.speech.words import Words
from regraft.cli.main import cli
from regraft.data.skeleton import HAND_JOINTS, JOINTS, RIGHT_HAND
from regraft.errors import UserError

SPEAKERS = ("ann", "bob", "cid")


def pack(folder: Path, takes: int = 3) -> Path:
    """Ten "words", each a tone of its own, by three "speakers" who detune them."""
    rng = np.random.default_rng(0)
    rows = []
    (folder / "speech").mkdir(parents=True)
    for number, speaker in enumerate(SPEAKERS):
        for word in range(10):
            for take in range(takes):
                hertz = 300 * 1.25**word * (1 + 0.01 * number)
                tone = np.sin(2 * np.pi * hertz * np.arange(4_000) / 8_000)
                name = f"{word}_{speaker}_{take}.wav"
                soundfile.write(
                    folder / "speech" / name, 0.3 * tone + rng.normal(0, 0.01, 4_000), 8_000
                )
                rows.append({"file": name, "label": str(word), "speaker": speaker})
    index = folder / "speech" / "index.jsonl"
    index.write_text("\n".join(json.dumps(row) for row in rows))
    signs(folder / "sign")
    return folder


def signs(folder: Path, takes: int = 7) -> None:
    """Two "people" sign the ten words, each with hands of an own shape for each word."""
    folder.mkdir()
    rows = []
    for source in ("north", "south"):
        for word in range(10):
            shape = np.random.default_rng(word).normal(0, 40, (HAND_JOINTS, 3))
            for take in range(takes):
                rng = np.random.default_rng([take, word, len(source)])
                joints = np.full((12, JOINTS, 3), np.nan)
                joints[:, RIGHT_HAND] = 200 + shape + rng.normal(0, 2, (12, HAND_JOINTS, 3))
                name = f"{source}_{word}_{take}.npz"
                np.savez(folder / name, joints=joints, fps=25)
                rows.append({"file": name, "label": str(word), "source": source})
    (folder / "index.jsonl").write_text("\n".join(json.dumps(row) for row in rows))


def tiny_encoder(folder: Path) -> Path:
    import torch
    from transformers import Wav2Vec2Config, Wav2Vec2Model

    torch.manual_seed(0)
    config = Wav2Vec2Config(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        conv_dim=(32,),
        conv_stride=(160,),
        conv_kernel=(400,),
        num_feat_extract_layers=1,
        num_conv_pos_embeddings=4,
        num_conv_pos_embedding_groups=2,
    )
    Wav2Vec2Model(config).save_pretrained(folder)
    return folder


def test_no_word_of_the_speaker_left_out_is_drawn(tmp_path: Path) -> None:
    recordings = listed(pack(tmp_path) / "speech")
    rows = recordings.drawn(4, without="bob", seed=0)
    assert "bob" not in recordings.speakers[rows]
    assert np.bincount(recordings.words[rows]).tolist() == [4] * 10
    assert len(set(rows.tolist())) == 40
    assert rows.tolist() != recordings.drawn(4, without="bob", seed=1).tolist()


def test_too_few_recordings_are_refused() -> None:
    few = Recordings([Path("a")] * 4, np.array([0, 0, 1, 1]), np.array(["a", "b", "a", "b"]))
    with pytest.raises(UserError, match="too few recordings"):
        few.drawn(2, without="a", seed=0)


def test_a_folder_without_a_list_is_refused(tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, ["bench", "speech-to-sign", "--data", str(tmp_path)])
    assert isinstance(result.exception, UserError) or result.exit_code == 2


def test_the_bench_prints_rows_and_keeps_features(tmp_path: Path) -> None:
    arguments = ["bench", "speech-to-sign", "--data", str(pack(tmp_path / "pack"))]
    arguments += ["--encoder", str(tiny_encoder(tmp_path / "encoder")), "--seeds", "1", "--json"]
    arguments += [
        "--cells",
        "words 5 / [!f]*",
        "--cells",
        "words 5 / frozen*",
        "--out",
        str(tmp_path / "out"),
    ]
    result = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout)
    assert len(rows) == 5
    best = max(rows, key=lambda row: row["mean"])
    assert set(best["speakers"]) == set(SPEAKERS)
    assert 0.5 < best["mean"] <= 1 and best["low"] <= best["mean"] <= best["high"]
    assert all(row["cpu_seconds"] > 0 for row in rows)
    assert (tmp_path / "out" / "words.npz").is_file()
    assert "| words 5 /" in (tmp_path / "out" / "table.md").read_text()


def test_signs_of_spoken_words_are_recognised_and_a_still_figure_is_not(tmp_path: Path) -> None:
    folder = pack(tmp_path / "pack")
    signs, recordings = read_signs(folder / "sign"), listed(folder / "speech")
    assert sources_of_words(signs) == ["north", "south"]
    train, test = signs.split("north", seed=0)
    assert not set(train) & set(test) and set(signs.sources[train]) == {"north"}
    cells = sign_cells(["south"])[:2]
    assert [cell.options["pretrained"] for cell in cells] == [True, False]
    encoder = load_audio_encoder(str(tiny_encoder(tmp_path / "encoder")))
    words = Words(recordings, encoder, tmp_path)
    row, scratch, gain = sign_rows(cells, words, signs, 1, pretraining_steps=100)
    figures = row["figures"]
    assert figures["ceiling"] == 1 and figures["still_back_recognition"] == 0.1
    # The synthetic voices say words and not tones: half of these are heard wrongly.
    assert row["mean"] > 2 * figures["still_back_recognition"]
    assert figures["milliseconds_per_word"] < 1_000
    assert figures["share_of_ceiling"] == pytest.approx(row["mean"], abs=1e-4)
    assert gain["mean"] == pytest.approx(row["mean"] - scratch["mean"])


def test_gains_are_paired_differences_of_all_sources_and_seeds() -> None:
    cells = sign_cells(["north", "south"])
    values = {
        (source, pretrained): [level + (0.1 if pretrained else 0.0) + seed for seed in range(2)]
        for source, level in (("north", 0.2), ("south", 0.6))
        for pretrained in (True, False)
    }
    rows = [
        {"values": values[cell.options["source"], cell.options["pretrained"]]} for cell in cells
    ]
    found = gains(cells, rows)
    assert len(found) == 4 and all(np.allclose(row["values"], [0.1] * 4) for row in found)
    assert gains(cells[:1], rows[:1]) == []  # nothing to compare with
