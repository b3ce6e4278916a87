"""MobileNetV1 at three quarters of its width.

Source: Howard et al., "MobileNets: Efficient Convolutional Neural Networks for Mobile Vision
Applications", 2017, section 3.3 (width multiplier). timm has the family but registers widths 1 and
1.25 only. The published weights of this width are TensorFlow's: SAME padding, inputs in -1..1.

>>> mobilenetv1_075(num_classes=0).num_features
768
"""

from __future__ import annotations

from typing import Any

from timm.models import generate_default_cfgs, register_model
from timm.models.efficientnet import EfficientNet, _gen_mobilenet_v1

default_cfgs = generate_default_cfgs(
    {
        "mobilenetv1_075": {
            "input_size": (3, 224, 224),
            "pool_size": (7, 7),
            "mean": (0.5, 0.5, 0.5),
            "std": (0.5, 0.5, 0.5),
            "interpolation": "bicubic",
            "first_conv": "conv_stem",
            "classifier": "classifier",
        }
    }
)


@register_model
def mobilenetv1_075(pretrained: bool = False, **kwargs: Any) -> EfficientNet:
    """MobileNetV1 x 0.75, with TensorFlow's padding unless `pad_type` says otherwise."""
    if kwargs.get("drop_path_rate"):
        raise TypeError("MobileNetV1 has no residual branch that drop_path could leave out")
    kwargs.setdefault("pad_type", "same")
    model: EfficientNet = _gen_mobilenet_v1(
        "mobilenetv1_075", 0.75, pretrained=pretrained, **kwargs
    )
    return model
