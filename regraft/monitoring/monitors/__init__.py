"""What is compared: one monitor per file, each with `tests(reference, window, ...) -> [Test]`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Test:
    """One comparison of a window with the reference.

    `p_value` is None where no chance is involved (an expectation on the data); such a test names
    a defect and never a drift. `effect` counts from `min_effect` on; `interval` is its 95 %
    interval where there is one. `domain` is the part of the reference compared with.
    """

    __test__ = False  # not a test of pytest

    monitor: str
    name: str
    statistic: float
    p_value: float | None
    effect: float
    min_effect: float
    effect_name: str
    note: str = ""
    domain: str = ""
    interval: tuple[float, float] | None = None

    @property
    def title(self) -> str:
        """Name with the domain, as it stands in tables."""
        return f"{self.name} ({self.domain})" if self.domain else self.name
