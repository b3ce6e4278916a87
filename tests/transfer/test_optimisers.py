"""Groups of parameters: one rate per block, no decay for biases and normalisation."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from regraft.training.optimisation import Optimisation, groups_of
from regraft.transfer.optimisers import build_optimiser, parameter_groups
from regraft.transfer.plans import stages_of
from tests.training.support import classifier


def net() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))


def test_matrices_decay_biases_and_normalisation_do_not() -> None:
    model = net()
    decayed, spared = parameter_groups(
        list(model.parameters()), rate=0.1, weight_decay=0.05, name="all"
    )
    assert decayed["weight_decay"] == 0.05
    assert spared["weight_decay"] == 0.0
    assert all(p.ndim > 1 for p in decayed["params"])
    assert {id(p) for p in spared["params"]} == {
        id(p) for p in (model[0].bias, model[1].weight, model[1].bias, model[3].bias)
    }
    assert decayed["peak_rate"] == spared["peak_rate"] == 0.1


def test_no_decay_loses_no_parameter() -> None:
    parameters = list(net().parameters())
    groups = parameter_groups(parameters, rate=0.1, weight_decay=0.0, name="all")
    assert sum(len(group["params"]) for group in groups) == len(parameters)


def test_frozen_parameters_are_in_no_group() -> None:
    model = net()
    model[0].requires_grad_(False)
    groups = parameter_groups(list(model.parameters()), rate=0.1, weight_decay=0.1, name="rest")
    found = {id(p) for group in groups for p in group["params"]}
    assert found == {id(p) for p in model.parameters() if p.requires_grad}


@pytest.mark.parametrize("name", ["test_efficientnet", "test_vit"])
def test_every_block_has_its_rate_and_every_weight_one_group(name: str) -> None:
    model = classifier(name)
    n = len(model.encoder.blocks)
    plan = {"kind": "gradual_unfreezing", "depths": [1, 3], "epochs": [1, 1]}
    stage = stages_of(plan, n)[1]
    model.encoder.freeze_except(set(stage.trainable), keep_statistics=True)
    how = Optimisation(learning_rate=1e-3, head_learning_rate=1e-2, block_decay=0.5)
    groups = groups_of(model, stage, how, nn.ModuleDict())
    rates = {group["name"]: group["peak_rate"] for group in groups}
    names = [block.name for block in model.encoder.blocks]
    assert rates == pytest.approx(
        {"head": 5e-3, names[-1]: 5e-4, names[-2]: 2.5e-4, names[-3]: 1.25e-4}
    )
    grouped = [id(p) for group in groups for p in group["params"]]
    assert len(grouped) == len(set(grouped))
    assert set(grouped) == {id(p) for p in model.parameters() if p.requires_grad}


def test_the_kinds_of_optimiser() -> None:
    groups = parameter_groups(list(net().parameters()), rate=0.1, weight_decay=0.1, name="all")
    assert isinstance(build_optimiser("adamw", groups), torch.optim.AdamW)
    sgd = build_optimiser("sgd", groups)
    assert sgd.defaults["nesterov"] is True
    with pytest.raises(KeyError, match="adamw"):
        build_optimiser("rmsprop", groups)


def test_lion_moves_every_weight_by_its_rate_whatever_the_gradient() -> None:
    weight = nn.Parameter(torch.zeros(2, 2))
    groups = parameter_groups([weight], rate=0.01, weight_decay=0.0, name="all")
    optimiser = build_optimiser("lion", groups)
    weight.grad = torch.tensor([[1e-3, -5.0], [100.0, -1e-6]])
    optimiser.step()
    assert torch.allclose(weight, 0.01 * torch.tensor([[-1.0, 1.0], [-1.0, 1.0]]))


@pytest.mark.parametrize("kind", ["adamw", "sgd", "lion"])
def test_an_optimiser_continues_from_its_saved_state(kind: str) -> None:
    def run(steps: list[int], halt: bool) -> torch.Tensor:
        weight = nn.Parameter(torch.ones(3, 3))
        groups = parameter_groups([weight], rate=0.1, weight_decay=0.1, name="all")
        optimiser = build_optimiser(kind, groups)
        for step in steps:
            if halt and step == 2:
                fresh = build_optimiser(kind, groups)
                fresh.load_state_dict(optimiser.state_dict())
                optimiser = fresh
            weight.grad = torch.full((3, 3), float(step - 2)) + weight.detach()
            optimiser.step()
        return weight.detach()

    assert torch.equal(run([0, 1, 2, 3], halt=True), run([0, 1, 2, 3], halt=False))
