"""Text encoders behind the interface of all encoders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from regraft.backbones.encoder import load_encoder
from regraft.backbones.transformer import TransformerEncoder, blocks_of, embed_texts
from regraft.backbones.transformer_loading import load_transformer
from regraft.errors import UserError
from regraft.training.inputs import ImageInputs
from regraft.transfer.plans import lora
from tests.backbones.texts import tiny_folder

TEXTS = ["what is asthma", "how can i treat a fever in children", "who gets diabetes and why"]
KINDS = ["bert", "distilbert", "roberta"]


@pytest.fixture(params=KINDS)
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tiny_folder(tmp_path / "model", request.param)


def tiny(tmp_path: Path, **options: Any) -> TransformerEncoder:
    return load_transformer(str(tiny_folder(tmp_path / "tiny")), **options)


def test_blocks_cover_every_parameter_once_in_order(folder: Path) -> None:
    encoder = load_transformer(str(folder), max_tokens=32)
    named = [parameter for block in encoder.blocks for parameter in block.parameters]
    assert sorted(named) == sorted(dict(encoder.model.named_parameters()))
    assert [block.index for block in encoder.blocks] == [0, 1, 2, 3]
    assert all("embed" in name for name in encoder.blocks[0].parameters)


@pytest.mark.parametrize("taps", [0, 2])
def test_the_network_can_be_cut_after_every_block(folder: Path, taps: int) -> None:
    encoder = load_transformer(str(folder), max_tokens=32, taps=taps)
    x = encoder.tokens.tensor(TEXTS, length=20)
    assert encoder.dim == 32 * (1 + taps)
    for end in range(len(encoder.blocks) - 1):
        assert encoder.trunk_is_exact(x, end)


def test_a_network_whose_rest_reads_more_than_the_activation_is_not_cut(tmp_path: Path) -> None:
    """The check must fail where a later layer sees the words again."""
    encoder = tiny(tmp_path)
    layer: Any = encoder.model.get_submodule("encoder.layer.2")
    words: Any = encoder.model.get_submodule("embeddings.word_embeddings")
    seen: list[torch.Tensor] = []
    words.register_forward_hook(lambda module, args, output: seen.append(output))
    plain = layer.forward
    layer.forward = lambda hidden, *args, **named: plain(hidden + seen[-1], *args, **named)
    assert not encoder.trunk_is_exact(encoder.tokens.tensor(TEXTS), 1)


def test_padding_and_neighbours_do_not_change_an_embedding(tmp_path: Path) -> None:
    encoder = tiny(tmp_path)
    with torch.inference_mode():
        alone = encoder(encoder.tokens.tensor(TEXTS[:1]))
        padded = encoder(encoder.tokens.tensor(TEXTS, length=30))
    assert torch.allclose(alone[0], padded[0], atol=1e-6)
    assert torch.allclose(padded.norm(dim=1), torch.ones(3), atol=1e-5)
    assert not torch.allclose(padded[0], padded[1], atol=1e-3)


def test_many_texts_are_embedded_in_their_own_order(tmp_path: Path) -> None:
    encoder = tiny(tmp_path)
    found = embed_texts(encoder, TEXTS, batch_size=2)
    one_by_one = np.concatenate([embed_texts(encoder, [text]) for text in TEXTS])
    np.testing.assert_allclose(found, one_by_one, atol=1e-6)
    assert embed_texts(encoder, []).shape == (0, 32)


def test_words_follow_their_embedding_and_padding_says_nothing(tmp_path: Path) -> None:
    encoder = tiny(tmp_path)
    x = encoder.tokens.tensor(TEXTS)
    with torch.inference_mode():
        embedding, words = encoder.with_words(x, 30)
        torch.testing.assert_close(embedding, encoder(x))
        torch.testing.assert_close(encoder.with_words(x, 2)[1], words[:, :2])
    assert words.shape == (3, 30, encoder.hidden_size)
    n_tokens = x[:, 1].sum(1)
    assert ((words.abs().sum(2) > 0).sum(1) == n_tokens).all()
    together = embed_texts(encoder, TEXTS, words=30)
    np.testing.assert_allclose(together[:, encoder.dim :], words.flatten(1), atol=1e-5)


def test_frozen_blocks_keep_parameters_and_buffers_bit_for_bit(tmp_path: Path) -> None:
    encoder = tiny(tmp_path)
    encoder.freeze_except({3})
    before = {key: value.clone() for key, value in encoder.state_dict().items()}
    optimiser = torch.optim.SGD([p for p in encoder.parameters() if p.requires_grad], lr=1.0)
    encoder.train()
    (encoder(encoder.tokens.tensor(TEXTS)) * torch.randn(encoder.dim)).sum().backward()
    optimiser.step()
    changed = {key for key, value in encoder.state_dict().items() if not value.equal(before[key])}
    moving = {f"model.{name}" for name in encoder.blocks[3].parameters}
    weights = {name for name in moving if name.endswith("weight")}
    assert weights <= changed <= moving


def test_frozen_layers_drop_nothing_out_while_others_train(tmp_path: Path) -> None:
    encoder = tiny(tmp_path, dropout=0.5)
    x = encoder.tokens.tensor(TEXTS)
    encoder.freeze_except(set())
    encoder.train()
    assert encoder(x).equal(encoder(x))
    encoder.freeze_except({3})
    encoder.train()
    assert not encoder(x).equal(encoder(x))


def test_training_on_the_cached_trunk_has_the_gradients_of_the_whole(tmp_path: Path) -> None:
    encoder = tiny(tmp_path)
    encoder.freeze_except({2, 3})
    x = encoder.tokens.tensor(TEXTS, length=16)
    aim = torch.randn(3, encoder.dim, generator=torch.Generator().manual_seed(1))
    gradients = []
    for embed in (encoder, lambda x: encoder.from_trunk(*encoder.trunk(x, 1), 1)):
        encoder.zero_grad()
        (embed(x) * aim).sum().backward()
        gradients.append([p.grad.clone() for p in encoder.parameters_of(3) if p.grad is not None])
    for whole, cut in zip(*gradients, strict=True):
        torch.testing.assert_close(whole, cut, atol=1e-5, rtol=1e-4)


def test_a_saved_encoder_gives_equal_outputs(folder: Path, tmp_path: Path) -> None:
    encoder = load_transformer(str(folder), max_tokens=32)
    encoder.save(tmp_path / "saved")
    again = load_encoder(tmp_path / "saved")
    assert isinstance(again, TransformerEncoder)
    with torch.inference_mode():
        x = again.tokens.tensor(TEXTS)
        assert x.equal(encoder.tokens.tensor(TEXTS))
        assert encoder(x).equal(again(x))


def test_adapters_learn_beside_frozen_attention_and_are_merged(tmp_path: Path) -> None:
    encoder = tiny(tmp_path)
    model = nn.Module()
    model.encoder = encoder
    x = encoder.tokens.tensor(TEXTS)
    names = set(encoder.state_dict())
    with torch.inference_mode():
        before = encoder(x)
    lora.prepare(model, seed=0, rank=2, alpha=4, targets=["query", "value"])
    encoder.freeze_except({1, 2, 3}, parameters="lora")
    moving = {name for name, p in encoder.named_parameters() if p.requires_grad}
    assert moving and all(".lora_" in n and ("query" in n or "value" in n) for n in moving)
    encoder.eval()
    with torch.inference_mode():
        assert torch.allclose(encoder(x), before, atol=1e-6)
    optimiser = torch.optim.SGD([p for p in encoder.parameters() if p.requires_grad], lr=1.0)
    for _ in range(2):  # B is zero at first, so A moves from the second step on
        (encoder(x) * torch.randn(encoder.dim)).sum().backward()
        optimiser.step()
    with torch.inference_mode():
        learned = encoder(x)
        lora.finish(model)
        merged = encoder(x)
    assert not torch.allclose(learned, before, atol=1e-4)
    assert torch.allclose(merged, learned, atol=1e-5)
    assert set(encoder.state_dict()) == names


def test_inputs_of_the_engine_take_text_as_they_take_images(tmp_path: Path) -> None:
    encoder = tiny(tmp_path)

    class Fixed:
        fingerprint = "x"

        def __len__(self) -> int:
            return len(TEXTS)

        def batch(self, indices: np.ndarray, views: np.ndarray) -> torch.Tensor:
            return encoder.tokens.tensor([TEXTS[i] for i in indices], length=12)

        def at_size(self, image_size: int) -> Fixed:
            raise AssertionError

    inputs = ImageInputs(Fixed())
    batch = inputs.batch(np.array([0, 2]), np.array([0, 0]))
    assert inputs.embed(encoder, batch).shape == (2, encoder.dim)


def test_embeddings_of_relative_positions_belong_to_the_first_block() -> None:
    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.ModuleList(nn.Linear(2, 2) for _ in range(2))
            self.rel_embeddings = nn.Embedding(2, 2)
            self.norm = nn.LayerNorm(2)

    blocks = blocks_of(Network(), "layer")
    assert blocks[0].parameters == ("rel_embeddings.weight",)
    assert blocks[2].parameters[-2:] == ("norm.weight", "norm.bias")


def test_the_embedded_encoder_finds_the_same_meaning_nearer_than_the_same_words() -> None:
    encoder = load_transformer("minilm")
    asked, lay, other = embed_texts(
        encoder,
        [
            "What are the symptoms of hypertension?",
            "how do i notice high blood pressure",
            "What are the symptoms of athlete's foot?",
        ],
    )
    assert encoder.dim == 384 and len(encoder.blocks) == 7
    assert asked @ lay > asked @ other + 0.1


# -- what is refused ----------------------------------------------------------------------------


def test_a_missing_folder_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="folder of the text encoder does not exist"):
        load_transformer(str(tmp_path / "nowhere"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no transformers model"):
        load_transformer(str(tmp_path / "empty"))


def test_an_unreachable_hub_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match="could not be fetched from the hub"):
        load_transformer("nobody/no-such-encoder-at-all")


def test_missing_weights_are_not_replaced_by_random_ones(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = tiny_folder(tmp_path / "tiny")
    state = load_file(folder / "model.safetensors")
    del state["encoder.layer.1.output.dense.weight"]
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match="weights do not fit"):
        load_transformer(str(folder))


def test_a_damaged_file_and_what_is_no_encoder_are_errors(tmp_path: Path) -> None:
    folder = tiny_folder(tmp_path / "tiny")
    with pytest.raises(UserError, match="does not encode texts of 64 tokens"):
        load_transformer(str(folder), max_tokens=64)
    (folder / "config.json").write_text("{")
    with pytest.raises(UserError, match="cannot be read"):
        load_transformer(str(folder))


def test_options_of_images_are_not_silently_ignored(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="backbone.image_size"):
        tiny(tmp_path, image_size=224, mean=[])
    with pytest.raises(UserError, match="features.taps"):
        tiny(tmp_path, taps=3)
    with pytest.raises(UserError, match="no such setting"):
        tiny(tmp_path, model_args={"no_such_field": 1})


def test_random_weights_come_only_when_asked_for(tmp_path: Path) -> None:
    given = tiny(tmp_path)
    torch.manual_seed(1)
    drawn = load_transformer(str(tmp_path / "tiny"), weights="random")
    x = given.tokens.tensor(TEXTS)
    with torch.inference_mode():
        assert not torch.allclose(given(x), drawn(x), atol=1e-3)
