"""Heads on cached features: the few-shot path, and the baseline in every table. One per file.

All of them take `features` (n, dim) and integer `labels` (n,) that count from 0 without a gap.
Strengths are inverse penalties, meant for features of length 1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from regraft.backbones.heads.cache_model import CacheHead, CacheModel, cache_model
from regraft.backbones.heads.fusion import FusionHead, FusionModel
from regraft.backbones.heads.linear import LinearHead
from regraft.backbones.heads.logistic import DEFAULT_STRENGTH, STRENGTHS, logistic_probe
from regraft.backbones.heads.nearest_class_mean import nearest_class_mean
from regraft.backbones.heads.ridge import ridge_head

Head = LinearHead | CacheModel

KINDS: dict[str, Callable[..., Head]] = {
    "nearest_class_mean": nearest_class_mean,
    "ridge": partial(ridge_head, strength=100.0),
    "logistic": partial(logistic_probe, strength=DEFAULT_STRENGTH, folds=1),
    "cache_model": cache_model,
}
"""Every head at a strength that suits features of length 1: `fit(features, labels)`."""


def head_of(arrays: Mapping[str, Any]) -> Head | FusionModel:
    """The head whose `arrays()` these are, for example an open probe.npz."""
    if "kind" in arrays:
        return FusionModel(dict(arrays))
    linear = LinearHead(arrays["weight"], arrays["bias"], 0.0)
    if "keys" not in arrays:
        return linear
    numbers = (float(arrays["alpha"]), float(arrays["beta"]))
    return CacheModel(linear, arrays["keys"], arrays["values"], *numbers)


__all__ = [
    "DEFAULT_STRENGTH",
    "KINDS",
    "STRENGTHS",
    "CacheHead",
    "CacheModel",
    "FusionHead",
    "FusionModel",
    "Head",
    "LinearHead",
    "cache_model",
    "head_of",
    "logistic_probe",
    "nearest_class_mean",
    "ridge_head",
]
