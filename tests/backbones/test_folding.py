"""Batch norms folded into convolutions: the same answers, and the original untouched."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from regraft.backbones.encoder import Encoder
from regraft.backbones.folding import folded
from regraft.backbones.loading import load_pretrained
from tests.backbones.test_encoder import images


def trained(name: str) -> Encoder:
    """An encoder whose batch norms are those of no fresh network."""
    torch.manual_seed(0)
    encoder = Encoder(*load_pretrained(name, weights="random")).eval()
    for layer in encoder.modules():
        if isinstance(layer, nn.BatchNorm2d):
            assert layer.running_mean is not None and layer.running_var is not None
            for values in (layer.running_mean, layer.bias.data):
                values.normal_(0, 0.3)
            for values in (layer.running_var, layer.weight.data):
                values.uniform_(0.5, 1.5)
    return encoder


def norms(encoder: Encoder) -> int:
    return sum(isinstance(layer, nn.BatchNorm2d) for layer in encoder.modules())


@pytest.mark.parametrize(
    "name", ["test_efficientnet", "resnet10t", "regnetx_002", "mobilenetv2_035"]
)
def test_the_copy_answers_alike_and_the_original_stays_bit_equal(name: str) -> None:
    encoder = trained(name)
    before = {key: value.clone() for key, value in encoder.state_dict().items()}
    faster = folded(encoder)
    assert norms(encoder) > 5 and norms(faster) == 0
    x = images(encoder, 3)
    with torch.inference_mode():
        assert torch.allclose(faster(x), encoder(x), atol=1e-5)
    end = encoder.trunk_end({len(encoder.blocks) - 1})
    assert end is not None
    for own, other in zip(faster.trunk(x, end), encoder.trunk(x, end), strict=True):
        assert torch.allclose(own, other, rtol=1e-3, atol=1e-2)
    after = encoder.state_dict()
    assert all(torch.equal(value, after[key]) for key, value in before.items())


def test_a_network_without_batch_norm_is_taken_as_it_is() -> None:
    encoder = trained("test_vit")
    assert folded(encoder) is encoder


def test_a_norm_whose_convolution_is_read_elsewhere_too_is_not_folded() -> None:
    encoder = trained("resnet10t")
    block = encoder.model.get_submodule("layer2.0")

    class Twice(nn.Module):
        """Adds the norm to what goes into it."""

        def __init__(self, norm: nn.Module) -> None:
            super().__init__()
            self.norm = norm

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + self.norm(x)

    block.bn1 = Twice(block.bn1)
    faster = folded(encoder)
    x = images(encoder)
    with torch.inference_mode():
        assert torch.allclose(faster(x), encoder(x), atol=1e-5)
    assert norms(faster) > 0


def test_what_is_learned_later_does_not_reach_the_copy() -> None:
    encoder = trained("test_efficientnet")
    faster, x = folded(encoder), images(encoder)
    with torch.inference_mode():
        before = faster(x)
        for parameter in encoder.parameters():
            parameter.mul_(0.5)
        assert torch.equal(faster(x), before)
        assert not torch.allclose(encoder(x), before, atol=1e-4)
    assert not any(parameter.requires_grad for parameter in faster.parameters())
