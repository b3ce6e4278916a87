"""The learning-rate range test: one short run at rising rates says which rate learns fastest.

Sources: Smith, "Cyclical Learning Rates for Training Neural Networks", WACV 2017, section 3.3;
Howard and Gugger, "fastai: A Layered API for Deep Learning", Information 2020 (lr_find: rates rise
exponentially, the run ends when the loss blows up). Two readings of the curve exist: the rate of
steepest descent, and a tenth of the rate of the lowest loss. The lower one is taken: with few
labels, too slow costs an epoch, too fast costs what was pre-trained.

>>> rates, losses = range_test(lambda rate: (rate - 0.1) ** 2, steps=60)
>>> 1e-3 < suggested_rate(rates, losses) < 0.1
True
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

SHORTEST = 10
"""Losses below which a curve says nothing."""


def range_test(
    step: Callable[[float], float],
    *,
    lowest: float = 1e-7,
    highest: float = 1.0,
    steps: int = 100,
    blown_up: float = 4.0,
) -> tuple[list[float], list[float]]:
    """Rates and losses of up to `steps` training steps at exponentially rising rates.

    `step(rate)` takes one training step on a new batch and returns its loss before the step. The
    run ends early when the loss is not finite or above `blown_up` times the median of the first
    ones. It moves the weights: the caller keeps a copy and puts it back.
    """
    rates: list[float] = []
    losses: list[float] = []
    for rate in np.geomspace(lowest, highest, steps).tolist():
        loss = step(rate)
        if not math.isfinite(loss):
            break
        rates.append(rate)
        losses.append(loss)
        if len(losses) > SHORTEST and loss > blown_up * np.median(losses[:SHORTEST]):
            break
    return rates, losses


def suggested_rate(rates: Sequence[float], losses: Sequence[float]) -> float | None:
    """The rate to train with, or None where the loss never fell by more than its noise.

    Losses are smoothed along the logarithm of the rate; what lies above the first losses counts as
    equal to them, so that the blow-up at the end does not bend the curve before it.

    Raises
    ------
    ValueError
        Fewer than `SHORTEST` losses, lists of different length, or rates that do not rise.
    """
    logs, values = np.log(rates), np.asarray(losses, dtype=np.float64)
    if len(values) < SHORTEST or len(logs) != len(values) or not (np.diff(logs) > 0).all():
        raise ValueError(
            f"expected at least {SHORTEST} losses at rising rates, got {len(values)} losses at "
            f"{len(logs)} rates"
        )
    values = np.minimum(values, np.median(values[:SHORTEST]) + np.ptp(values[:SHORTEST]))
    smooth = _smoothed(values)
    lowest = int(np.argmin(smooth))
    noise = float(np.std(values - smooth))
    if lowest == 0 or smooth[0] - smooth[lowest] <= 2 * noise:
        return None
    slope = np.gradient(smooth, logs)
    steepest = int(np.argmin(slope[: lowest + 1]))
    return float(min(rates[steepest], rates[lowest] / 10))


def _smoothed(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Two passes of a centred mean over a tenth of the curve, its ends held: (n,) to (n,)."""
    half = max(len(values) // 20, 1)
    window = np.full(2 * half + 1, 1 / (2 * half + 1))
    for _ in range(2):
        values = np.convolve(np.pad(values, half, mode="edge"), window, mode="valid")
    return values
