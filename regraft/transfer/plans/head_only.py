"""Feature extraction: the backbone stays as it is, only the head learns.

Source: Donahue et al., "DeCAF", ICML 2014. The head is a convex problem on cached features, solved
by the probe, so no stage follows it.

>>> stages(8)
[]
"""

from __future__ import annotations

from regraft.transfer.stage import Stage


def stages(n_blocks: int) -> list[Stage]:
    """No stage after the probe."""
    return []
