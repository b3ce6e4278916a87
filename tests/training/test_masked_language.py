"""A text encoder reads a domain: it tells hidden words better, and keeps what it knew or stays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from regraft.backbones.transformer import TransformerEncoder, embed_texts
from regraft.backbones.transformer_loading import load_transformer
from regraft.errors import UserError
from regraft.training import masked_language
from regraft.training.masked_language import MaskedLanguage, masked, pretrain_on_texts
from tests.backbones.texts import tiny_folder

ANY_DROP = 200.0  # more points than there are
HOW = MaskedLanguage(
    epochs=12, learning_rate=1e-2, batch_size=16, masked_share=0.3, max_general_drop_pp=ANY_DROP
)
SUBJECTS = ("asthma", "fever", "diabetes", "cold")
SENTENCES = {
    "asthma": "what are the symptoms of asthma in children",
    "fever": "how can i treat fever",
    "diabetes": "who gets diabetes and why",
    "cold": "a cold causes it and my head hurt",
}


def domain(count: int = 240) -> tuple[list[str], list[str]]:
    """Texts of two sentences that go together, so that a hidden word can be told; 40 groups."""
    rng = np.random.default_rng(0)
    texts = []
    for subject in rng.choice(SUBJECTS, size=count):
        start = int(rng.integers(2))
        words = f"{SENTENCES[subject]} {SENTENCES[subject]}".split()
        texts.append(" ".join(words[start : start + int(rng.integers(6, len(words)))]))
    return texts, [f"group {number % 40}" for number in range(count)]


@pytest.fixture
def encoder(tmp_path: Path) -> TransformerEncoder:
    return load_transformer(str(tiny_folder(tmp_path / "tiny")))


def weights(encoder: TransformerEncoder) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in encoder.state_dict().items()}


def test_hidden_words_of_other_texts_are_told_better(
    encoder: TransformerEncoder, tmp_path: Path
) -> None:
    before = weights(encoder)
    card = pretrain_on_texts(encoder, *domain(), HOW, seed=0, folder=tmp_path)
    losses = card["held_out_loss"]
    assert losses["fresh"] > losses["before"] > losses["after"] + 0.2
    assert card["adapted"] and card["texts"] > card["held_out_texts"] > 0
    moved = {n for n, value in encoder.state_dict().items() if not value.equal(before[n])}
    words = encoder.blocks[0].parameters
    assert moved and not moved & {f"model.{name}" for name in words}, "token embeddings stay"
    assert not encoder.training and all(p.requires_grad for p in encoder.parameters())


def test_what_is_hidden_is_a_share_of_the_words_alone(encoder: TransformerEncoder) -> None:
    x = encoder.tokens.tensor(domain()[0])
    n_tokens = encoder.spec.config["vocab_size"]
    shown, chosen = masked(x, encoder.tokens, n_tokens, 0.15, np.random.default_rng(0))
    special = torch.isin(x[:, 0], torch.tensor([0, 2, 3, 4]))  # [PAD], [CLS], [SEP], [MASK]
    assert encoder.tokens.special_ids == [0, 2, 3, 4] and encoder.tokens.mask_id == 4
    assert not (chosen & special).any()
    assert float(chosen[~special].float().mean()) == pytest.approx(0.15, abs=0.03)
    assert shown[:, 1].equal(x[:, 1]) and shown[:, 0][~chosen].equal(x[:, 0][~chosen])
    hidden = (shown[:, 0] == 4)[chosen].float().mean()
    left = (shown[:, 0] == x[:, 0])[chosen].float().mean()
    assert float(hidden) == pytest.approx(0.8, abs=0.08)
    assert 0.03 < float(left) < 0.2
    assert not torch.isin(shown[:, 0][chosen], torch.tensor([0, 2, 3])).any()


class Killed(Exception):
    """As a kill: nothing is tidied up."""


@pytest.mark.parametrize("at", [0, 2])
def test_killed_and_resumed_equals_uninterrupted(
    at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    how = MaskedLanguage(epochs=3, learning_rate=1e-2, max_general_drop_pp=ANY_DROP)

    def run(folder: str) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
        encoder = load_transformer(str(tiny_folder(tmp_path / "tiny")))
        card = pretrain_on_texts(encoder, *domain(), how, seed=0, folder=tmp_path / folder)
        return card, weights(encoder)

    expected = run("a")
    whole, passes = masked_language._Course._pass, []

    def dies(course: Any, number: int) -> None:
        passes.append(number)
        whole(course, number)
        if number == at + 1:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(masked_language._Course, "_pass", dies)
        with pytest.raises(Killed):
            run("b")
        passes.clear()
        with pytest.raises(Killed):
            run("b")
        assert passes == [at + 1], "what was done is not done again"
    card, found = run("b")
    assert card == expected[0]
    assert all(found[name].equal(value) for name, value in expected[1].items())


def test_other_seeds_read_otherwise(tmp_path: Path) -> None:
    found = []
    for number, seed in enumerate((0, 0, 1)):
        encoder = load_transformer(str(tiny_folder(tmp_path / "tiny")))
        how = MaskedLanguage(epochs=1, max_general_drop_pp=ANY_DROP)
        folder = tmp_path / str(number)
        pretrain_on_texts(encoder, *domain(), how, seed=seed, folder=folder)
        found.append(embed_texts(encoder, list(SENTENCES.values())))
    assert np.array_equal(found[0], found[1])
    assert not np.array_equal(found[0], found[2])


@pytest.mark.parametrize("after", [0.879, float("nan")])
def test_an_encoder_that_forgets_too_much_stays_what_it_was(
    after: float,
    encoder: TransformerEncoder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before, answers = weights(encoder), [0.9, after]
    monkeypatch.setattr(masked_language, "general_similarity", lambda embed: answers.pop(0))
    how = MaskedLanguage(epochs=1, max_general_drop_pp=2.0)
    card = pretrain_on_texts(encoder, *domain(), how, seed=0, folder=tmp_path)
    assert not card["adapted"] and card["general"]["allowed_pp"] == 2.0
    assert all(value.equal(before[name]) for name, value in encoder.state_dict().items())
    assert "stays what it was" in capsys.readouterr().err


def test_what_is_allowed_is_kept(
    encoder: TransformerEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = [0.9, 0.881]
    monkeypatch.setattr(masked_language, "general_similarity", lambda embed: answers.pop(0))
    how = MaskedLanguage(epochs=1, max_general_drop_pp=2.0)
    assert pretrain_on_texts(encoder, *domain(), how, seed=0, folder=tmp_path)["adapted"]


def test_one_group_cannot_be_measured_on(encoder: TransformerEncoder, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="too few texts"):
        pretrain_on_texts(encoder, ["what is asthma"] * 3, ["a", "b", "b"], seed=0, folder=tmp_path)


def test_a_tokenizer_without_a_mask_is_refused(
    encoder: TransformerEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("regraft.backbones.tokens._MASKS", ("<nothing>",))
    assert encoder.tokens.special_ids == [0, 2, 3]
    with pytest.raises(UserError, match="masked words"):
        pretrain_on_texts(encoder, *domain(), seed=0, folder=tmp_path)


def test_a_loss_that_is_no_number_ends_it(encoder: TransformerEncoder, tmp_path: Path) -> None:
    how = MaskedLanguage(epochs=5, learning_rate=1e30)
    with pytest.raises(UserError, match="diverged"):
        pretrain_on_texts(encoder, *domain(), how, seed=0, folder=tmp_path)
