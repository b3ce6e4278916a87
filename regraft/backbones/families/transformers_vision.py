"""Image encoders of the transformers library as networks that timm's users know.

Any model whose last hidden state is a row of tokens: ViT (Dosovitskiy et al., ICLR 2021), DINOv2,
and the image towers of CLIP (Radford et al., ICML 2021) and SigLIP (Zhai et al., ICCV 2023). The
features are what the network itself pools: the attention head of SigLIP, else the class token
(after CLIP's last normalisation), else the mean of the patches.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from timm.models import register_model
from torch import nn

from regraft.backbones.transformer import layer_list
from regraft.backbones.transformer_files import network_of

LAST_NORM, POOLING_HEAD = "post_layernorm", "head"


class TransformersVision(nn.Module):
    """A network of transformers and its configuration, with the methods of a timm model.

    `num_prefix_tokens` is how many tokens are no patch of the image.
    """

    def __init__(self, network: nn.Module, config: dict[str, Any]) -> None:
        super().__init__()
        self.model = network
        self._list = layer_list(self.model)
        patches = (config["image_size"] // config["patch_size"]) ** 2
        self.num_prefix_tokens = self._tokens(config["image_size"]) - patches
        self.pretrained_cfg: dict[str, Any] = {"input_size": (3, *2 * [config["image_size"]])}

    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        """(n, 3, size, size) to tokens (n, tokens, hidden)."""
        hidden: torch.Tensor = self.model(pixel_values=x).last_hidden_state
        return hidden

    def forward_head(self, x: torch.Tensor, pre_logits: bool = False) -> torch.Tensor:
        """Tokens to features (n, hidden)."""
        pool, norm = (getattr(self.model, name, None) for name in (POOLING_HEAD, LAST_NORM))
        if isinstance(pool, nn.Module):
            pooled: torch.Tensor = pool(x)
            return pooled
        if not self.num_prefix_tokens:
            return x.mean(1)
        first = x[:, 0]
        return first if norm is None else norm(first)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.forward_head(self.forward_features(x))

    def group_matcher(self, coarse: bool = False) -> Callable[[str], int]:
        """A block for what comes before the layers, one per layer, and what comes behind with the
        last one."""
        layers = f"model.{self._list}."
        last = len(list(self.model.get_submodule(self._list).children()))

        def block(name: str) -> int:
            if name.startswith(layers):
                return int(name.removeprefix(layers).partition(".")[0]) + 1
            before = "embed" in name or "pre_l" in name
            return 0 if before else last

        return block

    @torch.inference_mode()
    def _tokens(self, size: int) -> int:
        found = self.forward_features(torch.zeros(1, 3, size, size))
        if found.ndim != 3:
            raise ValueError(f"its last hidden state has {found.ndim} dimensions, not 3")
        return found.shape[1]


@register_model
def transformers_vision(
    pretrained: bool = False, num_classes: int = 0, *, config: dict[str, Any], **_: Any
) -> TransformersVision:
    """The network of `config`, a transformers configuration with its `model_type`."""
    return TransformersVision(network_of(config), config)
