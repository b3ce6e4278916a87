"""Two architectures, a CNN and a ViT, behind one interface."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from regraft.backbones.encoder import Encoder, load_encoder
from regraft.backbones.loading import load_pretrained
from regraft.errors import UserError

ARCHITECTURES = ["test_efficientnet", "test_vit"]
FAMILIES = [
    *ARCHITECTURES,
    "resnet10t",
    "convnext_atto",
    "regnetx_002",
    "swin_tiny_patch4_window7_224",
]


def encoder_of(name: str, seed: int = 0) -> Encoder:
    torch.manual_seed(seed)
    return Encoder(*load_pretrained(name, weights="random")).eval()


def images(encoder: Encoder, n: int = 2) -> torch.Tensor:
    size = encoder.spec.preprocessing.image_size
    return torch.randn(n, 3, size, size, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", FAMILIES)
def test_blocks_cover_every_parameter_once_in_order(name: str) -> None:
    encoder = encoder_of(name)
    named = [parameter for block in encoder.blocks for parameter in block.parameters]
    assert sorted(named) == sorted(dict(encoder.model.named_parameters()))
    assert len(encoder.blocks) >= 4
    assert [block.index for block in encoder.blocks] == list(range(len(encoder.blocks)))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_embeddings_have_unit_length_and_depend_on_the_image(name: str) -> None:
    encoder = encoder_of(name)
    with torch.inference_mode():
        found = encoder.embed(images(encoder))
    assert found.shape == (2, encoder.dim)
    assert torch.allclose(found.norm(dim=1), torch.ones(2), atol=1e-5)
    assert not torch.allclose(found[0], found[1], atol=1e-3)


@pytest.mark.parametrize("name", FAMILIES)
def test_regions_say_what_is_where(name: str) -> None:
    encoder = encoder_of(name)
    x = images(encoder, 1)
    half = x.shape[2] // 2
    other = x.clone()
    other[:, :, half:] = torch.randn(other[:, :, half:].shape)  # the lower half
    with torch.inference_mode():
        embedding, regions = encoder.with_regions(x, 2)
        _, whole = encoder.with_regions(x, 1)
        _, changed = encoder.with_regions(other, 2)
        torch.testing.assert_close(embedding, encoder(x))
    assert regions.shape == (1, 4, encoder.region_channels)
    torch.testing.assert_close(whole[:, 0], regions.mean(1), atol=0.2, rtol=0.2)
    moved = (changed - regions).abs().mean((0, 2))
    assert moved[2:].min() > moved[:2].max()


def test_a_network_without_places_is_a_clear_error() -> None:
    encoder = encoder_of("test_efficientnet")
    model: Any = encoder.model
    plain = model.forward_features
    model.forward_features = lambda x: plain(x).mean((2, 3))
    with pytest.raises(UserError, match="what is where"):
        encoder.with_regions(images(encoder), 2)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_network_can_be_cut_after_every_whole_block(name: str) -> None:
    encoder = encoder_of(name)
    x = images(encoder)
    ends = [block.index for block in encoder.blocks[:-1] if block.output]
    assert len(ends) >= 3
    for end in ends:
        assert encoder.trunk_is_exact(x, end)


def test_a_network_with_a_bypass_is_not_cut() -> None:
    """The check must fail where something else than the cut activation reaches the rest."""
    encoder = encoder_of("test_efficientnet")
    model = encoder.model
    plain = model.forward_features

    def with_bypass(x: torch.Tensor) -> torch.Tensor:
        return plain(x) + x.mean((1, 2, 3), keepdim=True)

    model.forward_features = with_bypass  # type: ignore[assignment]
    assert not encoder.trunk_is_exact(images(encoder), 2)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_frozen_blocks_keep_parameters_and_buffers_bit_for_bit(name: str) -> None:
    encoder = encoder_of(name)
    last = len(encoder.blocks) - 1
    encoder.freeze_except({last}, keep_statistics=False)
    before = {key: value.clone() for key, value in encoder.state_dict().items()}
    optimiser = torch.optim.SGD([p for p in encoder.parameters() if p.requires_grad], lr=1.0)
    encoder.train()
    loss = (encoder(images(encoder, 4)) * torch.randn(encoder.dim)).sum()
    loss.backward()
    optimiser.step()
    moving = {f"model.{name}" for name in encoder.blocks[last].parameters}
    changed = {key for key, value in encoder.state_dict().items() if not value.equal(before[key])}
    parameters = {f"model.{name}" for name, _ in encoder.model.named_parameters()}
    assert changed & parameters, "the trainable block did not move"
    assert changed & parameters <= moving
    modules = {name.rsplit(".", 1)[0] for name in moving}
    assert {key.rsplit(".", 1)[0] for key in changed - parameters} <= modules


def test_trainable_batch_norms_keep_their_statistics_unless_asked() -> None:
    encoder = encoder_of("test_efficientnet")
    everything = {block.index for block in encoder.blocks}
    for keep in (True, False):
        encoder.freeze_except(everything, keep_statistics=keep)
        before = {k: v.clone() for k, v in encoder.state_dict().items() if "running_mean" in k}
        encoder.train()
        encoder(images(encoder, 4))
        after = encoder.state_dict()
        assert all(after[key].equal(value) for key, value in before.items()) == keep


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_saved_encoder_gives_equal_outputs(name: str, tmp_path: Path) -> None:
    encoder = encoder_of(name)
    encoder.save(tmp_path)
    again = load_encoder(tmp_path)
    x = images(encoder)
    with torch.inference_mode():
        assert encoder(x).equal(again(x))
