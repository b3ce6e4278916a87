"""A copy of a network for inference alone, with its batch norms folded into the convolutions.

In eval mode batch norm is a constant scale and offset per channel, so for a convolution before it

    gamma (W x + b - mean) / sigma + beta  =  (s W) x + s (b - mean) + beta,   s = gamma / sigma,

sigma^2 = variance + eps (Jacob et al., CVPR 2018, section 3.2). The network that is trained and
saved stays as it is; the copy answers alike up to rounding, which is checked.

Pairs are found by what one image does on its way through the network, not by names, so this works
for every family: a batch norm is folded where its input is what one convolution put out.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from regraft.backbones.blockwise import BlockwiseEncoder

_TOLERANCE = 1e-4  # of an embedding, whose length is 1


@dataclass(frozen=True)
class _Call:
    name: str
    layer: nn.Module
    input: torch.Tensor
    output: torch.Tensor


def folded(encoder: BlockwiseEncoder) -> BlockwiseEncoder:
    """What answers like `encoder` in eval mode with less arithmetic: a copy, or the encoder
    itself where nothing can be folded. It must not be trained, and knows nothing of later changes
    of the encoder."""
    encoder.eval()
    own = encoder.with_encoders(folded)
    if own is not None:
        return own
    if not any(_is_batch_norm(layer) for layer in encoder.modules()):
        return encoder
    seed = torch.Generator().manual_seed(0)
    image = torch.randn(1, *encoder.input_shape, generator=seed).to(encoder.device)
    with torch.no_grad():
        pairs = _pairs(encoder, image)
        if not pairs:
            return encoder
        smaller = copy.deepcopy(encoder).requires_grad_(False)
        for convolution, norm in pairs:
            _fold(smaller.model, convolution, norm)
        smaller.model.to(memory_format=torch.channels_last)
        same = torch.allclose(smaller(image), encoder(image), atol=_TOLERANCE)
    return smaller if same else encoder


def _pairs(encoder: BlockwiseEncoder, image: torch.Tensor) -> list[tuple[str, str]]:
    """Names (convolution, batch norm) of layers that run once, one right behind the other."""
    calls = _calls(encoder, image)
    names = [call.name for call in calls]
    once = [call for call in calls if names.count(call.name) == 1]
    makers = {id(call.output): call for call in once if _is_convolution(call.layer)}
    return [
        (makers[id(call.input)].name, call.name)
        for call in once
        if _is_batch_norm(call.layer) and id(call.input) in makers
    ]


def _calls(encoder: BlockwiseEncoder, image: torch.Tensor) -> list[_Call]:
    """Every call of such a layer; the tensors are kept alive, so that an id means one tensor."""
    found: list[_Call] = []
    hooks = []
    for name, layer in encoder.model.named_modules():
        if not (_is_convolution(layer) or _is_batch_norm(layer)):
            continue

        def keep(layer: nn.Module, args: Any, output: torch.Tensor, name: str = name) -> None:
            found.append(_Call(name, layer, args[0], output))

        hooks.append(layer.register_forward_hook(keep))
    try:
        encoder(image)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def _is_convolution(layer: nn.Module) -> bool:
    """Plain ones: those that change their weight before use (standardised) are left alone."""
    return type(layer).__name__ in {"Conv2d", "Conv2dSame"} and isinstance(layer, nn.Conv2d)


def _is_batch_norm(layer: nn.Module) -> bool:
    """torch's, and timm's with the activation inside, where running statistics are used."""
    known = type(layer).__name__ in {"BatchNorm2d", "BatchNormAct2d"}
    return known and isinstance(layer, nn.BatchNorm2d) and layer.running_var is not None


def _fold(model: nn.Module, convolution_name: str, norm_name: str) -> None:
    """Change the convolution; of the batch norm only the activation stays."""
    convolution: Any = model.get_submodule(convolution_name)
    norm: Any = model.get_submodule(norm_name)
    scale = 1 / (norm.running_var.double() + norm.eps).sqrt()
    offset = -norm.running_mean.double()
    if convolution.bias is not None:
        offset = offset + convolution.bias.double()
    offset = offset * scale
    if norm.affine:
        scale, offset = scale * norm.weight.double(), offset * norm.weight.double()
        offset = offset + norm.bias.double()
    weight = convolution.weight.double() * scale[:, None, None, None]
    dtype = convolution.weight.dtype
    convolution.weight = nn.Parameter(weight.to(dtype), requires_grad=False)
    convolution.bias = nn.Parameter(offset.to(dtype), requires_grad=False)
    owner, _, own_name = norm_name.rpartition(".")
    setattr(model.get_submodule(owner), own_name, getattr(norm, "act", nn.Identity()))
