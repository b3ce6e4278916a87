"""Depth as ordered blocks, for every timm family.

A block is the unit in which freezing, unfreezing and layer-wise rates are said, numbered from the
input. timm's own grouping of parameters (`group_matcher`, used by its layer-wise learning rates)
says which parameters form one unit of depth; families without it are cut at their children and
grandchildren.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Block:
    """One unit of depth."""

    index: int
    parameters: tuple[str, ...]
    """Names of the parameters, in the model's own order."""
    output: str
    """Name of the module that computes the whole block and nothing else; empty if there is none
    (a stem of loose layers, a last block with the final normalisation)."""

    @property
    def name(self) -> str:
        return self.output or f"block {self.index}"


def ordered_blocks(model: nn.Module) -> list[Block]:
    """The blocks of a timm model without classifier, from input to output."""
    groups = _parameter_groups(model)
    return [
        Block(index, tuple(names), _whole_module(model, names))
        for index, names in enumerate(groups)
    ]


def norm_and_bias_names(model: nn.Module) -> set[str]:
    """Names of the parameters of normalisation layers, and of every bias."""
    return {
        f"{path}.{name}" if path else name
        for path, module in model.named_modules()
        for name, _ in module.named_parameters(recurse=False)
        if name == "bias" or "Norm" in type(module).__name__
    }


def _parameter_groups(model: Any) -> list[list[str]]:
    from timm.models import group_parameters

    if hasattr(model, "group_matcher"):
        grouped = group_parameters(model, model.group_matcher(coarse=True))
        return [list(grouped[key]) for key in sorted(grouped)]
    by_child: dict[str, list[str]] = {}
    for name, _ in model.named_parameters():
        path = name.split(".")[:-1]
        by_child.setdefault(".".join(path[:2]), []).append(name)
    return list(by_child.values())


def _whole_module(model: nn.Module, names: list[str]) -> str:
    """The outermost module that holds exactly these parameters."""
    everything = [name for name, _ in model.named_parameters()]
    path = names[0].split(".")[:-1]
    found = ""
    while path:
        prefix = ".".join(path) + "."
        inside = {name for name in everything if name.startswith(prefix)}
        if not inside <= set(names):
            break
        if inside == set(names):
            found = ".".join(path)
        path = path[:-1]
    return found
