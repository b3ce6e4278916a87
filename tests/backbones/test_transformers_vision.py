"""Image encoders of transformers and the towers of dual encoders, built on the spot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from regraft.backbones.encoder import Encoder, load_encoder
from regraft.backbones.loading import load_pretrained
from regraft.backbones.transformer_loading import load_transformer
from regraft.backbones.transformers_vision import is_transformers_name
from regraft.errors import UserError
from tests.backbones.texts import tiny_folder

SIZES: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 37, "num_attention_heads": 4}
VISION = SIZES | {"num_hidden_layers": 3, "image_size": 32, "patch_size": 8}
TEXT = SIZES | {"num_hidden_layers": 3, "vocab_size": 60, "max_position_embeddings": 40}
TEXT |= {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}
KINDS = ("vit", "dinov2", "clip", "siglip")


def folder_of(kind: str, folder: Path) -> Path:
    """A folder of a tiny model, with its processor; of a dual one also with a tokenizer."""
    from transformers import AutoConfig, AutoModel, CLIPImageProcessor

    tiny_folder(folder)  # its tokenizer stays
    torch.manual_seed(0)
    dual = kind in ("clip", "siglip")
    sizes = {"text_config": TEXT, "vision_config": VISION} if dual else VISION
    AutoModel.from_config(AutoConfig.for_model(kind, **sizes)).save_pretrained(folder)
    CLIPImageProcessor(image_mean=[0.5, 0.4, 0.3], image_std=[0.2, 0.2, 0.2]).save_pretrained(
        folder
    )
    return folder


@pytest.fixture(scope="module", params=KINDS)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder_of(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def encoder(folder: Path) -> Encoder:
    return Encoder(*load_pretrained(str(folder), taps=1)).eval()


def test_it_computes_what_transformers_computes(folder: Path) -> None:
    from transformers import AutoModel

    spec, network = load_pretrained(str(folder))
    assert spec.preprocessing.mean == (0.5, 0.4, 0.3)
    whole: Any = AutoModel.from_pretrained(folder).eval()
    x = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        if "vision_config" in json.loads((folder / "config.json").read_text()):
            wanted = whole.vision_model(pixel_values=x).pooler_output
        else:
            wanted = whole(pixel_values=x).last_hidden_state[:, 0]
        torch.testing.assert_close(network(x), wanted)


def test_blocks_are_the_layers_and_every_parameter_has_one(encoder: Encoder) -> None:
    assert len(encoder.blocks) == 4
    names = [name for block in encoder.blocks for name in block.parameters]
    assert sorted(names) == sorted(name for name, _ in encoder.model.named_parameters())
    first, last = encoder.blocks[0].parameters, encoder.blocks[-1].parameters
    assert any("patch" in name for name in first)
    assert all(".2." in name or "norm" in name or "head" in name for name in last)
    assert len(encoder.taps) == 1


def test_a_frozen_trunk_is_cut_and_an_encoder_is_saved(encoder: Encoder, tmp_path: Path) -> None:
    x = torch.randn(3, 3, 32, 32)
    with torch.inference_mode():
        whole = encoder(x)
        for end in (1, 2):
            torch.testing.assert_close(encoder.from_trunk(*encoder.trunk(x, end), end), whole)
            assert encoder.trunk_is_exact(x, end)
        encoder.save(tmp_path)
        torch.testing.assert_close(load_encoder(tmp_path)(x), whole)
    interpolates = "Dinov2" in type(encoder.model.model).__name__
    assert encoder.takes_image_size(48) == interpolates


def test_gradients_reach_what_is_not_frozen(encoder: Encoder) -> None:
    encoder.freeze_except({3})
    encoder.train()
    encoder(torch.randn(2, 3, 32, 32)).sum().backward()
    moved = {name for name, p in encoder.model.named_parameters() if p.grad is not None}
    assert moved
    assert moved <= set(encoder.blocks[3].parameters)
    encoder.zero_grad(set_to_none=True)
    encoder.freeze_except(set())
    encoder.eval()


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_of_a_dual_encoder_the_text_tower_reads_texts(kind: str, tmp_path: Path) -> None:
    from transformers import AutoModel

    folder = folder_of(kind, tmp_path)
    text = load_transformer(str(folder), taps=1)
    x = text.tokens.tensor(["what is asthma", "fever"])
    whole: Any = AutoModel.from_pretrained(folder).eval()
    with torch.inference_mode():
        found = whole.text_model(input_ids=x[:, 0], attention_mask=x[:, 1]).last_hidden_state
        torch.testing.assert_close(text.hidden(x), found)
        whole_text = text(x)
        torch.testing.assert_close(text.from_trunk(*text.trunk(x, 2), 2), whole_text)
        text.save(tmp_path / "saved")
        torch.testing.assert_close(load_encoder(tmp_path / "saved")(x), whole_text)
    assert not any("vision" in name for name, _ in text.model.named_parameters())


def test_names(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"architecture": "resnet18"}')
    for name in ("starter", "resnet18", "timm/resnet18.a1_in1k", str(tmp_path), "", "random"):
        assert not is_transformers_name(name), name
    assert is_transformers_name("openai/clip-vit-base-patch32")


def test_what_is_no_image_encoder_is_refused(tmp_path: Path) -> None:
    folder = tiny_folder(tmp_path / "bert")
    with pytest.raises(UserError, match="does not turn an image into tokens"):
        load_pretrained(str(folder))
    clip = folder_of("clip", tmp_path / "clip")
    for given in ({"drop_path": 0.1}, {"weights": "random"}):
        with pytest.raises(UserError, match="its own weights and arguments"):
            load_pretrained(str(clip), **given)
    (clip / "preprocessor_config.json").unlink()
    with pytest.raises(UserError, match="cannot be read"):
        load_pretrained(str(clip))


def test_missing_weights_are_not_made_up(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = folder_of("vit", tmp_path)
    file = folder / "model.safetensors"
    state = load_file(file)
    save_file({k: v for k, v in state.items() if "layer.1" not in k and "layers.1" not in k}, file)
    with pytest.raises(UserError, match="missing"):
        load_pretrained(str(folder))


def test_a_pair_has_both_towers_of_one_name(tmp_path: Path) -> None:
    from regraft.recipe.backbone import BackboneOptions
    from regraft.tasks import image_text_classification as task

    folder = str(folder_of("clip", tmp_path))
    options = BackboneOptions.model_validate({"name": folder, "text": {"name": folder}})
    pair = task.pretrained_encoder(options.model_dump(mode="json"), taps=1)
    picture = Image.fromarray(np.zeros((40, 40, 3), np.uint8))
    image = pair.image.spec.preprocessing.tensor([picture])
    x = pair.packed(image, pair.text.tokens.tensor(["what is asthma"]))
    assert pair(x).shape == (1, pair.image.dim + pair.text.dim)
