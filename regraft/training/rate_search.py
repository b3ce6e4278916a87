"""The learning-rate range test on a stage: its own examples, terms and optimiser, undone after."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator

import numpy as np
import torch

from regraft.progress import note
from regraft.training.loop import Diverged, PartsOfEpoch, StageLoop, take_step
from regraft.transfer.rate_range import SHORTEST, range_test, suggested_rate

STEPS = 60
"""Training steps of one test: two per factor of two and a little more, from 1e-7 to 1."""


def search_rates(loop: StageLoop) -> None:
    """Scale the peak rates of the stage so that the largest is the one the test suggests.

    The ratios between head and blocks stay. Weights, optimiser and ports are as before. Where the
    loss never falls, which is usual for a head that the probe has fitted on the same examples, the
    recipe's rates stay, and a note says so.
    """
    groups = loop.optimiser.param_groups
    largest = max(group["peak_rate"] for group in groups)
    rates, losses = _tested(loop, largest)
    found = suggested_rate(rates, losses) if len(losses) >= SHORTEST else None
    if found is None:
        note(f"{loop.name}: the range test found no falling loss; the rate stays {largest:.1e}")
        return
    note(f"{loop.name}: the range test suggests a rate of {found:.1e}")
    for group in loop.optimiser.param_groups:
        group["peak_rate"] *= found / largest


def _tested(loop: StageLoop, largest: float) -> tuple[list[float], list[float]]:
    kept = copy.deepcopy(
        (loop.model.state_dict(), loop.optimiser.state_dict(), loop.ports.state_dict())
    )
    batches = _batches(loop)
    parts = PartsOfEpoch(loop, 0, STEPS)
    loop.module.train()
    torch.manual_seed(int(np.random.default_rng((*loop.seed, 3)).integers(2**62)))

    def step(rate: float) -> float:
        number, chosen = next(batches)
        for group in loop.optimiser.param_groups:
            group["lr"] = group["peak_rate"] * rate / largest
        try:
            return sum(take_step(loop, parts.of(number, chosen, 0.0), 0, 1).values())
        except Diverged:  # that is where the test ends
            return math.inf

    tested = range_test(step, steps=STEPS)
    loop.model.load_state_dict(kept[0])
    loop.optimiser.load_state_dict(kept[1])
    loop.ports.load_state_dict(kept[2])
    return tested


def _batches(loop: StageLoop) -> Iterator[tuple[int, np.ndarray]]:
    """`STEPS` numbered batches, in the order of an epoch of its own."""
    rng, size = np.random.default_rng((*loop.seed, 3)), loop.how.batch_size
    order = loop.sampler.order(0, rng)
    while len(order) < STEPS * size:
        order = np.concatenate([order, loop.sampler.order(0, rng)])
    return ((number, order[number * size : (number + 1) * size]) for number in range(STEPS))
