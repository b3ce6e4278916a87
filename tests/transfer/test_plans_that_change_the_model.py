"""LoRA, fresh weights, and plans that move a part of the parameters: on a CNN and a ViT."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from regraft.backbones.encoder import Encoder
from regraft.backbones.loading import load_pretrained
from regraft.errors import UserError
from regraft.tasks.classifier import Classifier
from regraft.transfer import plans
from regraft.transfer.plans.lora import adaptable_layers
from regraft.transfer.plans.surgical import relative_gradient_norms
from tests.training.support import classifier

LORA = {"kind": "lora", "rank": 4, "alpha": 8, "targets": [], "blocks": 0, "epochs": 1}
NETWORKS = ["test_vit", "test_efficientnet", "mobilenetv2_100", "starter"]


def model_of(name: str) -> Classifier:
    if name != "starter":
        return classifier(name)
    return Classifier(Encoder(*load_pretrained("starter", image_size=64)), ["a", "b"])


def pictures(model: Classifier, n: int = 4) -> torch.Tensor:
    size = model.encoder.spec.preprocessing.image_size
    return torch.randn(n, 3, size, size, generator=torch.Generator().manual_seed(1))


def trained(model: Classifier, plan: dict[str, Any], steps: int = 3) -> set[str]:
    """Take large steps in the plan's last stage; names of what changed."""
    stage = plans.stages_of(plan, len(model.encoder.blocks))[-1]
    model.encoder.freeze_except(
        set(stage.trainable),
        keep_statistics=not stage.batch_statistics,
        parameters=stage.parameters,
    )
    model.head.requires_grad_(stage.head)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    moving = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.SGD(moving, lr=0.5)
    x, y = pictures(model), torch.tensor([0, 1, 0, 1])
    model.train()
    for _ in range(steps):
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimiser.step()
    model.eval()
    return {n for n, value in model.state_dict().items() if not value.equal(before[n])}


@pytest.mark.parametrize("name", NETWORKS)
def test_lora_begins_as_the_same_function_and_ends_as_a_plain_network(name: str) -> None:
    model = model_of(name).eval()
    x = pictures(model)
    names, blocks = list(model.state_dict()), model.encoder.blocks
    start = {key: value.clone() for key, value in model.state_dict().items()}
    with torch.inference_mode():
        first = model(x)
    plans.prepare(LORA, model, seed=0)
    with torch.inference_mode():
        assert torch.equal(model(x), first)
    changed = trained(model, LORA)
    assert any(".lora_B." in key for key in changed)
    assert all(".lora_" in key or key.startswith("head.") for key in changed)
    with torch.inference_mode():
        adapted = model(x)
    plans.finish(LORA, model)
    assert list(model.state_dict()) == names
    assert model.encoder.blocks == blocks
    assert all(p.requires_grad for p in model.parameters())
    with torch.inference_mode():
        assert torch.allclose(model(x), adapted, atol=1e-4)
    assert not torch.allclose(adapted, first, atol=1e-3), "the adapters did nothing"
    moved = {key for key in names if not model.state_dict()[key].equal(start[key])}
    assert any(key.startswith("encoder.") for key in moved)
    assert all(model.state_dict()[key].ndim > 1 for key in moved if key.startswith("encoder."))


@pytest.mark.parametrize("name", NETWORKS)
def test_every_adapter_gets_a_gradient(name: str) -> None:
    """A network that reads a layer's weight instead of calling it would pass its adapter by."""
    model = model_of(name)
    plans.prepare(LORA, model, seed=0)
    changed = trained(model, LORA)
    adapters = {key for key in model.state_dict() if ".lora_B." in key}
    assert adapters and adapters <= changed


def test_what_lora_merges_has_no_higher_rank_than_asked() -> None:
    model = model_of("test_vit")
    start = {key: value.clone() for key, value in model.state_dict().items()}
    plans.prepare(LORA | {"rank": 2}, model, seed=0)
    trained(model, LORA | {"rank": 2})
    plans.finish(LORA, model)
    update = model.state_dict()["encoder.model.blocks.1.attn.qkv.weight"]
    update = update - start["encoder.model.blocks.1.attn.qkv.weight"]
    values = torch.linalg.svdvals(update)
    assert values[1] > 1e-6
    assert values[2] < 1e-5 * values[0]


def test_lora_leaves_out_what_it_cannot_merge() -> None:
    model = model_of("mobilenetv2_100")
    layers = dict(model.encoder.model.named_modules())
    adapted = adaptable_layers(model.encoder, rank=8)
    grouped = [n for n, m in layers.items() if isinstance(m, nn.Conv2d) and m.groups > 1]
    assert grouped and not set(grouped) & set(adapted)
    assert {layers[name].kernel_size for name in adapted} == {(1, 1), (3, 3)}
    assert min(min(layers[n].in_channels * 9, layers[n].out_channels) for n in adapted) > 8


def test_lora_s_targets_and_blocks_narrow_the_choice() -> None:
    encoder = model_of("test_vit").encoder
    found = adaptable_layers(encoder, rank=4, targets=["qkv"], blocks=3)
    assert found and all(name.endswith("attn.qkv") for name in found)
    inside = {name for block in encoder.blocks[-3:] for name in block.parameters}
    assert {f"{name}.weight" for name in found} <= inside
    everywhere = adaptable_layers(encoder, rank=4, targets=["qkv"])
    assert set(found) < set(everywhere)


def test_lora_without_a_layer_is_refused() -> None:
    with pytest.raises(UserError, match="targets"):
        plans.prepare(LORA | {"targets": ["conv99"]}, model_of("test_vit"), seed=0)


def test_lora_keeps_the_trunk_exact_behind_the_blocks_it_leaves_alone() -> None:
    model = model_of("test_efficientnet").eval()
    plan = LORA | {"blocks": 2}
    plans.prepare(plan, model, seed=0)
    (stage,) = plans.stages_of(plan, len(model.encoder.blocks))
    end = model.encoder.trunk_end(set(stage.trainable))
    assert end is not None
    assert model.encoder.trunk_is_exact(pictures(model), end)
    frozen = [n for block in model.encoder.blocks[: end + 1] for n in block.parameters]
    assert not any(".lora_" in name for name in frozen)


@pytest.mark.parametrize("name", ["test_vit", "test_efficientnet"])
def test_only_normalisation_and_biases_move(name: str) -> None:
    model = model_of(name)
    changed = trained(model, {"kind": "norm_bias", "epochs": 1})
    inside = {key for key in changed if key.startswith("encoder.")}
    assert inside
    assert all(model.state_dict()[key].ndim == 1 for key in inside)
    modules = dict(model.named_modules())
    for key in inside:
        owner, _, own = key.rpartition(".")
        assert own == "bias" or "Norm" in type(modules[owner]).__name__
    norms = [n for n, m in modules.items() if "Norm" in type(m).__name__ and "encoder" in n]
    assert any(f"{n}.weight" in inside for n in norms)


def test_scratch_forgets_every_weight_and_statistic_the_same_way_for_a_seed() -> None:
    plan = {"kind": "scratch", "epochs": 1}
    model, again, other = (model_of("starter") for _ in range(3))
    before = {key: value.clone() for key, value in model.state_dict().items()}
    state = torch.get_rng_state()
    plans.prepare(plan, model, seed=3)
    assert torch.equal(torch.get_rng_state(), state)
    plans.prepare(plan, again, seed=3)
    plans.prepare(plan, other, seed=4)
    drawn = model.state_dict()
    matrices = [key for key, value in drawn.items() if value.ndim > 1]
    assert all(not drawn[key].equal(before[key]) for key in matrices)
    assert all(drawn[key].equal(again.state_dict()[key]) for key in drawn)
    assert all(not drawn[key].equal(other.state_dict()[key]) for key in matrices)
    means = [value for key, value in drawn.items() if key.endswith("running_mean")]
    assert means and all(not mean.any() for mean in means)


def test_scratch_measures_the_statistics_of_batch_norm() -> None:
    model = model_of("test_efficientnet")
    changed = trained(model, {"kind": "scratch", "epochs": 1})
    means = {key for key in model.state_dict() if key.endswith("running_mean")}
    assert means and means <= changed


def test_surgical_finds_the_block_that_the_data_pull_at() -> None:
    """Damage one block: its relative gradient norm must be the largest afterwards."""
    model = model_of("test_vit")
    torch.manual_seed(0)
    x = pictures(model)
    with torch.no_grad():
        wanted = model.encoder(x).clone()
        for parameter in model.encoder.parameters_of(2):
            parameter.mul_(0.02)
    (model.encoder(x) - wanted).square().sum().backward()
    norms = relative_gradient_norms(model.encoder)
    plan = {"kind": "surgical", "blocks": 1, "epochs": 4}
    (stage,) = plans.stages_of(plan, len(norms), gradient_norms=lambda: norms)
    assert stage.trainable == {2}
    assert stage.epochs == 4


def test_relative_gradient_norms_are_relative() -> None:
    model = model_of("test_vit")
    first, second = model.encoder.parameters_of(1), model.encoder.parameters_of(2)
    with torch.no_grad():
        for parameter in [*first, *second]:
            parameter.fill_(2.0)
            parameter.grad = torch.full_like(parameter, 1.0)
        for parameter in second:
            parameter.fill_(10.0)
    norms = relative_gradient_norms(model.encoder)
    assert norms[:3] == pytest.approx([0.0, 0.5, 0.1])
