"""Learning rates: discriminative over depth, warm-up and half cosine over time."""

from __future__ import annotations

import math


def block_rates(
    blocks: list[int], n_blocks: int, *, last_rate: float, decay: float
) -> dict[int, float]:
    """Rate of each block: last_rate * decay ** (blocks between it and the head).

    Source: discriminative fine-tuning, Howard and Ruder, ACL 2018, section 3.2.

    >>> block_rates([6, 7], 8, last_rate=1.0, decay=0.5)
    {6: 0.5, 7: 1.0}
    """
    return {index: last_rate * decay ** (n_blocks - 1 - index) for index in blocks}


def warmup_cosine(step: int, *, total: int, warmup: int) -> float:
    """Factor of the rate at a step: rises linearly over `warmup` steps, then half a cosine to 0.

    Sources: Goyal et al. 2017 (warm-up); Loshchilov and Hutter, ICLR 2017 (cosine).
    """
    if step < warmup:
        return (step + 1) / warmup
    done = (step - warmup) / max(total - warmup, 1)
    return 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))
