"""SqueezeNet 1.1 without its last fire module, as transfer backbones of it are published.

Source: Iandola et al., "SqueezeNet: AlexNet-level accuracy with 50x fewer parameters", 2016, and
its release 1.1; torchvision's modules and parameter names, `features.0` to `features.11`. There is
no batch norm: biases alone say where a channel stands.

>>> squeezenet1_1_backbone().num_features
512
"""

from __future__ import annotations

from typing import Any

import torch
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from torch import nn

default_cfgs = generate_default_cfgs(
    {
        "squeezenet1_1_backbone": {
            "num_classes": 0,
            "input_size": (3, 224, 224),
            "pool_size": (13, 13),
            # Caffe's order of work: 0..255 minus the channel means, not divided.
            "mean": (123.68 / 255, 116.779 / 255, 103.939 / 255),
            "std": (1 / 255, 1 / 255, 1 / 255),
            "interpolation": "bicubic",
            "first_conv": "features.0",
        }
    }
)


class SqueezeNetBackbone(nn.Module):
    """Images (n, 3, s, s) to maps (n, 512, about s/17, s/17) and their mean (n, 512).

    `drop_rate` is the dropout on the pooled features. Raises ValueError for other arguments than
    the published weights have: no classifier, 3 channels.
    """

    num_features = 512

    def __init__(self, num_classes: int = 0, in_chans: int = 3, drop_rate: float = 0.0) -> None:
        from torchvision.models import squeezenet1_1

        if num_classes or in_chans != 3:
            raise ValueError(
                "this SqueezeNet has no classifier and reads 3 channels, "
                f"got num_classes={num_classes}, in_chans={in_chans}"
            )
        super().__init__()
        self.features = squeezenet1_1(weights=None).features[:12]
        self.features[1] = nn.ReLU()  # in place, it would change what a hook keeps of features.0
        self.dropout = nn.Dropout(drop_rate)

    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = self.features(x)
        return features

    def forward_head(self, x: torch.Tensor, pre_logits: bool = True) -> torch.Tensor:
        """The mean over positions; there is no classifier for `pre_logits` to leave out."""
        pooled: torch.Tensor = self.dropout(x.mean((2, 3)))
        return pooled

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.forward_head(self.forward_features(x))

    def group_matcher(self, coarse: bool = False) -> dict[str, str]:
        """The first convolution, then each fire module."""
        return {"stem": r"^features\.0\.", "blocks": r"^features\.(\d+)\."}


@register_model
def squeezenet1_1_backbone(pretrained: bool = False, **kwargs: Any) -> SqueezeNetBackbone:
    """SqueezeNet 1.1 up to fire8."""
    model: SqueezeNetBackbone = build_model_with_cfg(
        SqueezeNetBackbone, "squeezenet1_1_backbone", pretrained, **kwargs
    )
    return model
