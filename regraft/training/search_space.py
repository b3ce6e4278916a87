"""What a search for a strategy tries: plan x learning rate x regulariser.

Only plans whose first blocks stay frozen: their trunk is cached once and shared by every trial, so
a trial costs what its last blocks cost. The recipe's own configuration is always among them, so a
deeper plan is tried where the recipe asks for one.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np

from regraft.transfer.plans import KINDS

AS_GIVEN = "as given"
PLANS: dict[str, dict[str, Any]] = {
    "last 2 blocks": {"kind": "last_n", "blocks": 2, "epochs": 8, "image_sizes": []},
    "last 4 blocks": {"kind": "last_n", "blocks": 4, "epochs": 8, "image_sizes": []},
    "last 2, then 4 blocks": {
        "kind": "gradual_unfreezing",
        "depths": [2, 4],
        "epochs": [4, 4],
        "rate_decay_per_stage": 0.5,
        "image_sizes": [],
    },
}
RATES = (1.0, 3.0, 10.0)
"""Multiples of the recipe's rates, which are made for the most careful fine-tuning."""
REGULARISERS = ("plain", "l2_sp", "label smoothing", "mixup", "ema", "wise_ft")


def candidates_of(options: dict[str, Any], count: int, *, seed: int) -> dict[str, dict[str, Any]]:
    """{name: what it changes in the recipe's finetune section}, the recipe's own (nothing) first.

    The others are drawn from the grid so that every plan, rate and regulariser comes up about
    equally often.
    """
    found: dict[str, dict[str, Any]] = {}
    if options["plan"]["kind"] != "head_only":
        found[AS_GIVEN] = {}
    grid = list(product(PLANS, RATES, REGULARISERS))
    waiting = [grid[i] for i in np.random.default_rng(seed).permutation(len(grid))]
    used: dict[Any, int] = {}
    while waiting and len(found) < count:
        drawn = min(waiting, key=lambda one: sum(used.get(level, 0) for level in one))
        waiting.remove(drawn)
        used |= {level: used.get(level, 0) + 1 for level in drawn}
        plan, factor, regulariser = drawn
        name = f"{plan}, rate x {factor:g}, {regulariser}"
        found[name] = {"plan": PLANS[plan], "optimiser": _faster(options["optimiser"], factor)}
        found[name] |= _regularised(options, regulariser)
    return found


def shortened(plan: dict[str, Any], epochs: int) -> dict[str, Any]:
    """The plan for a trial of so many epochs; later stages are left out where there are too few.

    >>> shortened(PLANS["last 2, then 4 blocks"], 3)["epochs"]
    [1, 2]
    >>> shortened(PLANS["last 2, then 4 blocks"], 1)["depths"]
    [2]
    """
    if plan["kind"] not in KINDS:
        raise KeyError(f"no plan of kind {plan['kind']!r}; there are {', '.join(KINDS)}")
    if plan["kind"] == "gradual_unfreezing":
        stages = min(len(plan["depths"]), epochs)
        shares = [epochs // stages + (i >= stages - epochs % stages) for i in range(stages)]
        cut = {name: plan[name][:stages] for name in ("depths", "image_sizes")}
        return plan | cut | {"epochs": shares}
    sizes = len(plan.get("image_sizes") or [0])  # such a plan runs its epochs once per size
    return plan | ({"epochs": -(-epochs // sizes)} if "epochs" in plan else {})


def _faster(optimiser: dict[str, Any], factor: float) -> dict[str, Any]:
    """Searched rates take the place of a range test."""
    rates = ("learning_rate", "head_learning_rate")
    return optimiser | {name: optimiser[name] * factor for name in rates} | {"range_test": False}


def _regularised(options: dict[str, Any], kind: str) -> dict[str, Any]:
    """What this regulariser changes; one that the recipe has already is left as it is."""
    objectives, averaging = options["objectives"], options["averaging"]
    changes: dict[str, dict[str, Any]] = {
        "plain": {},
        "l2_sp": {"objectives": [*objectives, {"kind": "l2_sp", "strength": 0.1}]},
        "label smoothing": {"label_smoothing": options["label_smoothing"] or 0.1},
        "mixup": {"mixup_alpha": options["mixup_alpha"] or 0.2},
        "ema": {"averaging": [*averaging, {"kind": "ema", "decay": 0.99}]},
        "wise_ft": {"averaging": [*averaging, {"kind": "wise_ft", "alpha": 0.5}]},
    }
    known = {one["kind"] for one in (*objectives, *averaging)}
    return {} if kind in known else changes[kind]
