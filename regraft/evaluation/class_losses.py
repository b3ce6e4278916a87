"""What a class loses where few of its examples are tested: counted pair by pair.

Whether a class of five photos was lost or had bad luck is asked of the independent examples on
which two models differ: were both as good, each would as well have been lost as won (sign test:
Dixon and Mood, "The Statistical Sign Test", JASA 41, 1946).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

FEWEST_OF_A_CLASS = 5
"""Fewer independent examples cannot tell a class that was lost from luck."""


def class_losses(right: pd.DataFrame) -> list[dict[str, Any]]:
    """[{value, domain, count, groups, candidate, champion, lost, won}] of every class in every
    domain ("" without any) with at least 5 groups.

    `right` has the columns label, group, optionally domain, and candidate and champion (right or
    wrong). `candidate` and `champion` are accuracies; `lost` and `won` count groups of which the
    candidate answers fewer, or more, than the champion.
    """
    frame = right.assign(domain=right.get("domain", ""))
    frame["change"] = frame["candidate"].astype(int) - frame["champion"].astype(int)
    found = []
    for (domain, label), rows in frame.groupby(["domain", "label"], sort=True):
        changes = rows.groupby("group")["change"].sum()
        if len(changes) >= FEWEST_OF_A_CLASS:
            found.append(
                {"value": str(label), "domain": str(domain), "count": len(rows),
                 "groups": len(changes), "candidate": float(np.mean(rows["candidate"])),
                 "champion": float(np.mean(rows["champion"])),
                 "lost": int((changes < 0).sum()), "won": int((changes > 0).sum())}
            )  # fmt: skip
    return found


def sign_test(lost: int, won: int) -> float:
    """Exact one-sided p-value: how often luck loses so many of those that changed, or more.

    >>> sign_test(4, 0), sign_test(3, 0), sign_test(0, 0)
    (0.0625, 0.125, 1.0)
    """
    changed = lost + won
    return sum(math.comb(changed, k) for k in range(lost, changed + 1)) / 2**changed
