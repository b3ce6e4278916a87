"""Test-time adaptation: a shifted batch is met, the registered model is left alone."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from regraft.errors import UserError
from regraft.transfer.objectives.entropy import information
from regraft.transfer.test_time import KINDS, adapt
from regraft.transfer.test_time.batch_statistics import adapt as with_statistics


class Toy(nn.Module):
    def __init__(self, norm: bool = True) -> None:
        super().__init__()
        layer = nn.BatchNorm2d(3) if norm else nn.Identity()
        self.encoder = nn.Sequential(layer, nn.Flatten())
        self.head = nn.Linear(12, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.head(self.encoder(x))
        return found


@pytest.fixture
def model() -> Toy:
    torch.manual_seed(0)
    return Toy().eval()


@pytest.fixture
def batches() -> list[torch.Tensor]:
    torch.manual_seed(1)
    return [torch.randn(8, 3, 2, 2) * 4 + 5 for _ in range(3)]


@pytest.mark.parametrize("kind", KINDS)
def test_only_the_copy_changes(kind: str, model: Toy, batches: list[torch.Tensor]) -> None:
    before = {key: value.clone() for key, value in model.state_dict().items()}
    found = adapt(kind, model, batches)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert any(not torch.equal(before[key], value) for key, value in found.state_dict().items())
    assert torch.equal(found.head.weight, model.head.weight)
    assert not found.training


def test_statistics_are_mixed_by_counts(model: Toy, batches: list[torch.Tensor]) -> None:
    found = with_statistics(model, batches, prior=24)
    expected = torch.cat(batches).mean((0, 2, 3)) / 2  # 24 inputs against a prior of 24 at mean 0
    assert torch.allclose(found.encoder[0].running_mean, expected, atol=1e-5)


def test_tent_lowers_the_entropy(model: Toy, batches: list[torch.Tensor]) -> None:
    many = batches * 20
    plain, tent = adapt("batch_statistics", model, many), adapt("tent", model, many)
    with torch.no_grad():
        x = torch.cat(batches)
        assert information(tent(x), diversity=0.0) < information(plain(x), diversity=0.0)


def test_centring_undoes_what_a_domain_adds_to_every_input() -> None:
    torch.manual_seed(0)
    model = Toy(norm=False)
    x = torch.randn(200, 3, 2, 2)
    with torch.no_grad():
        model.head.bias -= model(x).mean(0)  # the known domain is centred
        wanted = model(x).argmax(1)
        moved = x + 3 * torch.randn(1, 3, 2, 2)
        found = adapt("centring", model, [moved[:100], moved[100:]])
        plain = (model(moved).argmax(1) == wanted).float().mean()
        assert (found(moved).argmax(1) == wanted).float().mean() > max(0.9, plain)
        assert plain < 0.85


def test_refusals(model: Toy, batches: list[torch.Tensor]) -> None:
    with pytest.raises(UserError, match="too few inputs"):
        adapt("tent", model, [batches[0][:3]])
    with pytest.raises(UserError, match="no batch norm"):
        adapt("tent", Toy(norm=False), batches)
    with pytest.raises(KeyError):
        adapt("magic", model, batches)
