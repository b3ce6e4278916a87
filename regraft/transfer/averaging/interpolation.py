"""From one set of weights towards another, by name."""

from __future__ import annotations

import torch


def copied(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A copy that training does not move; half precision becomes float32, since the small steps
    of an average would be lost in it."""
    return {name: value.detach().to(_precision(value), copy=True) for name, value in state.items()}


def between(
    start: dict[str, torch.Tensor], end: dict[str, torch.Tensor], share: float
) -> dict[str, torch.Tensor]:
    """start + share (end - start), in the precision of `start` and with the names of `end`.

    Share 0 gives `start` and 1 gives `end`, bit for bit; so do entries that are equal (also
    infinite ones, as in masks). Integers are those of `end`.

    Raises
    ------
    ValueError
        `end` has an entry that `start` does not have, or of another shape.
    """
    return {name: _between(name, start.get(name), value, share) for name, value in end.items()}


def _between(
    name: str, start: torch.Tensor | None, end: torch.Tensor, share: float
) -> torch.Tensor:
    if start is None or start.shape != end.shape:
        got = "missing" if start is None else f"of shape {tuple(start.shape)}"
        raise ValueError(
            f"cannot average {name} {tuple(end.shape)}: it was {got} when averaging began; "
            "begin after heads and adapters are in place"
        )
    end = end.detach().to(start)
    if not end.is_floating_point():
        return end.clone()
    return torch.where(start == end, end, torch.lerp(start, end, share))


def like(
    values: dict[str, torch.Tensor], state: dict[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """A copy of `values` with the types and devices of `state`."""
    return {name: values[name].to(own, copy=True) for name, own in state.items()}


def _precision(value: torch.Tensor) -> torch.dtype:
    if not value.is_floating_point():
        return value.dtype
    return torch.promote_types(value.dtype, torch.float32)
