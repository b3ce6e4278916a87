"""The optimiser of a stage, with one group of parameters per block and kind of parameter.

Which one when:

AdamW (Loshchilov and Hutter, "Decoupled Weight Decay Regularization", ICLR 2019) is the default.
Blocks, normalisation and head of one network have gradients of very different size; Adam divides
them out, so that one rate with its decay over depth suits attention and convolutions alike. Its
decay pulls every matrix by the same share, whatever its gradient. Kumar et al. ("How to Fine-Tune
Vision Models with SGD", 2022) measure that it fine-tunes transformers and ConvNeXt better than SGD,
mostly because SGD moves their first layer too much.

SGD with Nesterov momentum needs half of AdamW's memory and stays nearer to the pre-trained weights
where gradients vanish: a good choice for residual networks with batch norm at rates of 1e-3 to
1e-2, above all with few blocks trainable. Its rate must be found anew for each network (try the
rate range test).

Lion (Chen et al., "Symbolic Discovery of Optimization Algorithms", NeurIPS 2023) steps by the sign
of its momentum: every weight moves by the rate itself. It keeps one buffer per weight like SGD and
gains at large batches (64 and more), where signs are less noisy; with small batches prefer AdamW.
The authors advise a rate 3 to 10 times smaller, and a weight decay 3 to 10 times larger, than
AdamW's: neither is rescaled here, what the recipe says is what is used. timm maintains it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


def parameter_groups(
    parameters: list[nn.Parameter], *, rate: float, weight_decay: float, name: str
) -> list[dict[str, Any]]:
    """Matrices with decay, biases and normalisation without; the rate is kept as `peak_rate`."""
    trainable = [parameter for parameter in parameters if parameter.requires_grad]
    split = [
        (weight_decay, [p for p in trainable if p.ndim > 1]),
        (0.0, [p for p in trainable if p.ndim <= 1]),
    ]
    return [
        {"params": members, "lr": rate, "peak_rate": rate, "weight_decay": decay, "name": name}
        for decay, members in split
        if members
    ]


def build_optimiser(kind: str, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    """`adamw`, `sgd` (Nesterov momentum 0.9) or `lion` over these groups."""
    if kind == "adamw":
        return torch.optim.AdamW(groups)
    if kind == "sgd":
        return torch.optim.SGD(groups, momentum=0.9, nesterov=True)
    if kind == "lion":
        from timm.optim import Lion

        lion: torch.optim.Optimizer = Lion(groups)
        return lion
    raise KeyError(f"no optimiser {kind!r}; there are adamw, sgd and lion")
