"""LoRA: low-rank updates beside frozen weights, merged into them at the end.

Source: Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", ICLR 2022, section 4.1.
For a frozen weight W (out, in) the layer computes

    W x + alpha / rank * B A x,        A (rank, in) random, B (out, rank) zero at first

and only A and B learn. A convolution (out, in, k, k) gets A as a k x k convolution into `rank`
channels and B as a 1 x 1 convolution. `finish` adds the product to W: the model that is saved has
the names, the size and the speed of the original. The layers come from Hugging Face's `peft`.

Left out are convolutions with groups (a depthwise filter has no low rank, and peft cannot merge
them), dilated ones and subclasses that compute their weight (peft's update would ignore that), and
layers whose smaller side is not above `rank`, where the update would not be low-rank.

>>> stage, = stages(8, epochs=5, blocks=3)
>>> sorted(stage.trainable), stage.parameters
([5, 6, 7], 'lora')
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from regraft.errors import UserError
from regraft.transfer.stage import Stage, last_blocks

if TYPE_CHECKING:
    from torch import nn


def stages(n_blocks: int, *, epochs: int, blocks: int = 0, **_: Any) -> list[Stage]:
    """One stage in which the adapters of the last `blocks` blocks (0: of all) move."""
    trainable = last_blocks(blocks or n_blocks, n_blocks)
    return [Stage(f"adapters of {len(trainable)} blocks", trainable, epochs, parameters="lora")]


def prepare(
    model: Any,
    *,
    seed: int,
    rank: int,
    alpha: int,
    targets: Sequence[str] = (),
    blocks: int = 0,
    **_: Any,
) -> None:
    """Put adapters into `model.encoder`, in place; its outputs do not change yet.

    Raises
    ------
    UserError
        No layer is left to adapt.
    """
    import torch
    from peft import LoraConfig, inject_adapter_in_model

    encoder = model.encoder
    names = adaptable_layers(encoder, rank=rank, targets=targets, blocks=blocks)
    if not names:
        raise UserError(
            "no layer of the backbone can take an adapter",
            where="finetune.plan",
            got=f"targets={list(targets)}, rank={rank}, blocks={blocks}",
            expected="ends of names of linear layers or convolutions wider than the rank",
            fix="leave finetune.plan.targets empty, or lower finetune.plan.rank",
        )
    exact = "|".join(re.escape(name) for name in names)
    config = LoraConfig(r=rank, lora_alpha=alpha, target_modules=exact)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        inject_adapter_in_model(config, encoder.model)
    encoder.rename_parameters(plain_name)


def finish(model: Any) -> None:
    """Add the adapters to the weights they stand beside, and take them out, in place."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    network = model.encoder.model
    adapted = [(name, m) for name, m in network.named_modules() if isinstance(m, BaseTunerLayer)]
    for name, layer in adapted:
        layer.merge()
        network.set_submodule(name, layer.get_base_layer())
    if adapted:
        del network.peft_config
        network.requires_grad_(True)
        model.encoder.rename_parameters(plain_name)


def plain_name(name: str) -> str:
    """The name that a parameter, or the weight it adapts, has in a network without adapters.

    >>> plain_name("conv.base_layer.bias"), plain_name("conv.lora_A.default.weight")
    ('conv.bias', 'conv.weight')
    """
    return re.sub(r"\.lora_[AB]\.\w+\.", ".", name.replace(".base_layer.", "."))


def adaptable_layers(
    encoder: Any, *, rank: int, targets: Sequence[str] = (), blocks: int = 0
) -> list[str]:
    """Names of the layers of the last `blocks` blocks (0: of all) that can take an adapter."""
    inside = {
        name.rpartition(".")[0]
        for index in last_blocks(blocks or len(encoder.blocks), len(encoder.blocks))
        for name in encoder.blocks[index].parameters
    }
    return [
        name
        for name, layer in encoder.model.named_modules()
        if name in inside
        and (not targets or f".{name}".endswith(tuple(f".{target}" for target in targets)))
        and _has_low_rank(layer, rank)
    ]


def _has_low_rank(layer: nn.Module, rank: int) -> bool:
    from torch import nn

    if isinstance(layer, nn.Conv2d):
        from timm.layers import Conv2dSame

        plain = type(layer) in (nn.Conv2d, Conv2dSame) and layer.groups == 1
        plain = plain and set(layer.dilation) == {1} and layer.padding_mode == "zeros"
    elif isinstance(layer, nn.Linear):
        plain = type(layer) is nn.Linear
    else:
        return False
    return plain and rank < min(layer.weight.flatten(1).shape)
